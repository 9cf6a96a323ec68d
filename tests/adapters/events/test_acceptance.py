"""An event that a pod emits is stored if its pod may emit it, and the pod is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.events.acceptance import EventAcceptance, accept_events
from broker.events.outbox import MAX_EVENT_BYTES
from broker.events.remote_outbox import RemoteOutbox
from broker.nats import bus as buses
from broker.nats.bus import Bus
from kubefox import codec, subjects
from kubefox.delivery import Delivery
from kubefox.errors import (
    BodyTooLarge,
    ComponentMismatch,
    FoxError,
    InvalidEvent,
    NatsUnavailable,
    NotAuthorized,
    NotDeclared,
    Overloaded,
)
from kubefox.event import Event, EventType
from kubefox.senders import Sender
from tests.adapters.events.world import WEB, WORKER, EventsWorld, token_of
from tests.support.data_plane import APP, digest
from tests.support.nats import NatsServer
from tests.support.world import SOON_S

ME = Sender(APP, WEB)
OTHER_VERSION = subjects.component(APP, "worker", digest("v2"))


@pytest.fixture
async def pod(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    """The connection of a pod of component web."""
    async with buses.connect(own_nats_server.url, process_id="web-1", sender=ME) as bus:
        yield bus


async def frame(world: EventsWorld, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "id": "1",
        "genesis_id": "1",
        "type": EventType.COMPONENT,
        "context": await token_of(world),
        "source": WEB,
        "deadline_ms": 0,
    }
    return codec.encode(Event(**fields | changes), b"x")


async def test_an_event_of_a_declared_emitter_is_stored_and_handled(
    running: EventsWorld, pod: Bus
) -> None:
    assert await RemoteOutbox(pod, ME).store(WORKER, await frame(running))

    assert (await running.worker.next()).source == WEB


@pytest.mark.parametrize(
    ("sender", "target", "changes", "error"),
    [
        (ME, WORKER, {"source": WEB.replace("web", "worker")}, NotAuthorized),
        (ME, WORKER, {"source": "adapter/http"}, NotAuthorized),
        (Sender(APP, f"other@{digest('v1')}"), WORKER, {}, NotAuthorized),
        (ME, WORKER.replace(APP, "blog"), {}, NotAuthorized),
        (ME, OTHER_VERSION, {}, ComponentMismatch),
        (ME, WORKER, {"context": "forged"}, InvalidEvent),
        (
            Sender(APP, f"worker@{digest('v1')}"),
            WORKER,
            {"source": f"worker@{digest('v1')}"},
            NotDeclared,
        ),
    ],
)
async def test_any_other_event_is_refused(
    world: EventsWorld,
    pod: Bus,
    sender: Sender,
    target: str,
    changes: dict[str, Any],
    error: type[FoxError],
) -> None:
    with pytest.raises(error):
        await RemoteOutbox(pod, sender).store(target, await frame(world, **changes))

    assert (await world.letters.counts()).waiting == 0
    assert world.broker.bus.forged.count == (error is NotAuthorized)


async def test_no_emitter_takes_the_keys_of_another_one(world: EventsWorld, pod: Bus) -> None:
    keyed = {"delivery": Delivery(key="same")}
    outbox = RemoteOutbox(pod, ME)
    v2 = {**keyed, "context": await token_of_another(world)}

    first = await outbox.store(WORKER, await frame(world, **keyed))
    again = await outbox.store(WORKER, await frame(world, **keyed))
    elsewhere = await outbox.store(WORKER, await frame(world, **v2))

    assert (first, again, elsewhere) == (True, False, True)


async def token_of_another(world: EventsWorld) -> str:
    await world.deploy("second", "v1")
    return await token_of(world, "second")


async def test_what_a_pod_sends_is_never_stored_by_jetstream_itself(
    world: EventsWorld, pod: Bus
) -> None:
    info = await world.broker.bus.jetstream().stream_info("kubefox-events")
    subject = subjects.outbox(WORKER, ME)

    assert info.config.subjects == ["emit.*.*.*"]
    assert subject.split(".")[0] == "outbox"
    assert subjects.target_of_outbox(subject) == WORKER


async def test_an_event_over_the_limit_is_refused_by_both_ends(
    world: EventsWorld, pod: Bus
) -> None:
    large = await frame(world) + bytes(MAX_EVENT_BYTES)

    with pytest.raises(BodyTooLarge):
        await RemoteOutbox(pod, ME).store(WORKER, large)
    answer = await pod.request(subjects.outbox(WORKER, ME), large, SOON_S)

    error = codec.decode_response(answer)[0].error
    assert error is not None
    assert error.code == "body_too_large"


async def test_too_many_events_of_one_lane_are_refused(world: EventsWorld, pod: Bus) -> None:
    crowded = EventAcceptance(world.broker, max_bytes=1)
    answers: list[bytes] = []

    async def note(answer: bytes, _reply: str) -> None:
        answers.append(answer)

    reply = f"{subjects.reply_prefix('other')}1"
    await pod.serve(reply, note)
    await pod.flush()
    crowded.accept(subjects.outbox(WORKER, ME), await frame(world), reply)
    async with asyncio.timeout(SOON_S):
        while not answers:
            await asyncio.sleep(0.001)

    error = codec.decode_response(answers[0])[0].error
    assert error is not None
    assert (error.code, error.refusal) == (Overloaded.code, "events_full")


async def test_an_event_whose_process_died_with_it_is_sent_to_another_one(
    world: EventsWorld, own_nats_server: NatsServer
) -> None:
    received = asyncio.Event()

    async def die(_payload: bytes, _reply: str) -> None:
        received.set()

    async with buses.connect(own_nats_server.url, process_id="lone", sender=ME) as pod:
        outbox, subject = RemoteOutbox(pod, ME, answer_s=0.5), "outbox.>"
        dying = await pod.serve(subject.replace(">", "*.*.*.*"), die, subjects.ADAPTERS_QUEUE)
        await pod.flush()
        storing = [
            asyncio.create_task(
                outbox.store(WORKER, await frame(world, delivery=Delivery(key=str(number))))
            )
            for number in range(20)
        ]
        await received.wait()
        await pod.stop_serving(dying)

        # One whose answer came late was sent again, and is known by its key.
        await asyncio.gather(*storing)

    assert (await world.letters.counts()).waiting == len(storing)


async def test_an_event_waits_for_a_process_that_stores_events(own_nats_server: NatsServer) -> None:
    async with (
        buses.connect(own_nats_server.url, process_id="web-1", sender=ME) as pod,
        contextlib.AsyncExitStack() as platform,
    ):
        storing = asyncio.create_task(RemoteOutbox(pod, ME).store(WORKER, b"not an event"))
        await asyncio.sleep(0.05)
        served = asyncio.Event()

        async def refuse(_payload: bytes, reply: str) -> None:
            served.set()
            await pod.publish(reply, b"not an answer")

        subscription = await pod.serve(subjects.OUTBOX, refuse, subjects.ADAPTERS_QUEUE)
        platform.push_async_callback(pod.stop_serving, subscription)

        with pytest.raises(NatsUnavailable, match="may not be stored"):
            await storing
        assert served.is_set()


async def test_without_one_the_error_names_the_adapter(own_nats_server: NatsServer) -> None:
    async with buses.connect(own_nats_server.url, process_id="web-1", sender=ME) as pod:
        with pytest.raises(NatsUnavailable, match="Start the emit adapter"):
            await RemoteOutbox(pod, ME).store(WORKER, b"", timeout_s=0.1)


async def test_garbage_is_counted_and_answered(world: EventsWorld, pod: Bus) -> None:
    subject = subjects.outbox(WORKER, ME)

    answer = await pod.request(subject, b"\xffgarbage", SOON_S)
    await pod.publish(subject, b"\xffgarbage")
    await pod.request(subject, await frame(world), SOON_S)

    error = codec.decode_response(answer)[0].error
    assert error is not None
    assert error.code == "invalid_event"
    assert world.broker.bus.malformed.count == 2


async def test_closing_answers_the_events_that_were_accepted(
    world: EventsWorld, own_nats_server: NatsServer
) -> None:
    async with buses.connect(own_nats_server.url, process_id="web-1", sender=ME) as pod:
        accepting = accept_events(world.broker)
        await accepting.__aenter__()
        outbox, event = RemoteOutbox(pod, ME), await frame(world)
        storing = [asyncio.create_task(outbox.store(WORKER, event)) for _ in range(50)]
        await asyncio.sleep(0)
        await accepting.__aexit__(None, None, None)

        assert await asyncio.gather(*storing) == [True] * len(storing)
