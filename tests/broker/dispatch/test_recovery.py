"""An event that may not be handled twice, and whose connection was lost, is handled once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.dispatch import receiver, recovery
from broker.dispatch.event_sender import EventSender
from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.dispatch.recovery import Recovery
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from broker.nats.held_requests import decode_question
from broker.nats.lost_connection import ConnectionLost
from broker.runtime.platform_clock import clock
from broker.streams.outgoing import OutgoingStream
from kubefox import codec, subjects
from kubefox.errors import DeadlineExceeded, NatsUnavailable
from kubefox.event import Event, EventType
from kubefox.senders import Sender
from tests.support.leading import lead
from tests.support.nats import NatsServer

TARGET = subjects.component("shop", "api", "a" * 32)
SENDER = Sender("shop", f"web@{'b' * 32}")
POD = "api-1"
LATE_S = 0.1
LONG_S = 60.0


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes behave as in a cluster, and events be late soon."""
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    monkeypatch.setattr(recovery, "LATE_S", LATE_S)
    monkeypatch.setattr(recovery, "SKEW_S", 0)
    monkeypatch.setattr(receiver, "LATE_S", LATE_S)


@pytest.fixture
def _single_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes behave as with a single server."""
    monkeypatch.setattr(FastPathClient, "is_clustered", False)


class Pod:
    """A pod that counts the events that it handles.

    Attributes:
        bus: Its connection.
        handled: Ids of the events whose handler has begun.
        begun: Set when one has begun.
        released: Handlers wait for it.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.handled: list[str] = []
        self.begun = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()

    async def handle(self, event: Event, _body: codec.Body) -> Reply:
        self.handled.append(event.id)
        self.begun.set()
        await self.released.wait()
        return Reply(body=b"done")

    def lose_answer(self) -> None:
        """Lose the next message that is sent."""
        send, lost = self.bus.send, asyncio.Event()

        def lossy(subject: str, payload: bytes, reply: str = "") -> bool:
            if lost.is_set():
                return send(subject, payload, reply)
            lost.set()
            return True

        self.bus.send = lossy  # type: ignore[method-assign]


@pytest.fixture
async def pod(own_nats_server: NatsServer) -> AsyncIterator[Pod]:
    async with buses.connect(own_nats_server.url, process_id=f"{POD}-00") as own:
        pod = Pod(own)
        async with receive(own, TARGET, "pods", pod.handle, source="api@1", pod=POD):
            yield pod


def post(event_id: str = "1", ttl_s: float = LONG_S) -> Event:
    now_s = clock.now_s()
    return Event(
        id=event_id,
        genesis_id=event_id,
        type=EventType.COMPONENT,
        context="token",
        source=SENDER.source,
        deadline_ms=int((now_s + ttl_s) * 1000),
        method="POST",
        sent_us=int(now_s * 1e6),
    )


def make_sender(bus: Bus) -> EventSender:
    return EventSender(bus, SENDER, recovery=Recovery(bus, SENDER))


def send(bus: Bus, event: Event, sender: EventSender | None = None) -> asyncio.Task[bytes]:
    sender = sender or make_sender(bus)
    sending = sender.request(TARGET, event, codec.encode(event), LONG_S)
    return asyncio.ensure_future(sending)


async def fill(pod: Pod, bus: Bus, sender: EventSender, count: int) -> list[asyncio.Task[bytes]]:
    """Send some events, and return when the pod handles them all."""
    pod.released.clear()
    sendings = [send(bus, post(str(number)), sender) for number in range(count)]
    while len(pod.handled) < count:
        await asyncio.sleep(0.01)
    return sendings


def lose_first_request(bus: Bus) -> str:
    """Lose the next event on its way, and return its reply subject."""
    request, reply = bus.request, f"{bus._inbox.prefix}{'0' * 16}"

    async def lossy(
        subject: str, payload: bytes, timeout_s: float, body: OutgoingStream | None = None
    ) -> bytes:
        bus.request = request  # type: ignore[method-assign]
        lost = ConnectionLost("the connection to NATS was lost")
        lost.reply = reply
        raise lost

    bus.request = lossy  # type: ignore[method-assign]
    return reply


def body_of(frame: bytes) -> bytes:
    return bytes(codec.decode_response(frame)[1])


async def test_an_answer_that_was_lost_is_sent_again(bus: Bus, pod: Pod) -> None:
    await lead(bus, POD)
    pod.lose_answer()
    sending = send(bus, post())
    await pod.begun.wait()

    await bus.disconnected()

    assert body_of(await sending) == b"done"
    assert pod.handled == ["1"]


async def test_the_answer_of_a_handler_that_still_runs_is_awaited(bus: Bus, pod: Pod) -> None:
    await lead(bus, POD)
    pod.released.clear()
    sending = send(bus, post())
    await pod.begun.wait()

    await bus.disconnected()
    done, _ = await asyncio.wait([sending], timeout=5 * LATE_S)
    pod.released.set()

    assert not done
    assert body_of(await sending) == b"done"
    assert pod.handled == ["1"]


async def test_an_event_that_reached_no_pod_is_sent_again(bus: Bus, pod: Pod) -> None:
    await lead(bus, POD)
    lose_first_request(bus)

    assert body_of(await send(bus, post())) == b"done"
    assert pod.handled == ["1"]


async def test_an_event_that_was_sent_again_is_not_handled_when_the_first_one_arrives(
    bus: Bus, pod: Pod
) -> None:
    await lead(bus, POD)
    event, reply = post(), lose_first_request(bus)
    await send(bus, event)

    await bus.publish(subjects.request_to(TARGET, SENDER), codec.encode(event), reply)
    await send(bus, post("2"))

    assert pod.handled == ["1", "2"]


async def test_an_event_that_arrives_while_pods_are_asked_is_not_sent_again(
    bus: Bus, pod: Pod
) -> None:
    await lead(bus, POD, "api-2")
    event, reply = post(), lose_first_request(bus)
    sending = send(bus, event)
    await asyncio.sleep(3 * LATE_S)

    await bus.publish(subjects.request_to(TARGET, SENDER), codec.encode(event), reply)

    assert body_of(await sending) == b"done"
    assert pod.handled == ["1"]


async def test_an_event_waits_while_a_pod_that_may_have_it_does_not_answer(
    bus: Bus, pod: Pod
) -> None:
    await lead(bus, POD, "api-2")
    lose_first_request(bus)

    with pytest.raises(DeadlineExceeded):
        await send(bus, post(ttl_s=2))
    assert pod.handled == []


async def test_an_event_fails_if_a_pod_that_may_have_had_it_has_ended(bus: Bus, pod: Pod) -> None:
    event = post()
    await lead(bus, POD, since_us=event.sent_us + 1)
    lose_first_request(bus)

    with pytest.raises(NatsUnavailable, match="not known whether it was handled"):
        await send(bus, event)
    assert pod.handled == []


@pytest.mark.usefixtures("_single_server")
async def test_an_event_fails_if_its_pod_does_not_remember_its_answers(bus: Bus, pod: Pod) -> None:
    await lead(bus, POD)
    pod.lose_answer()
    sending = send(bus, post())
    await pod.begun.wait()

    await bus.disconnected()

    with pytest.raises(NatsUnavailable, match="not known whether it was handled"):
        await sending
    assert pod.handled == ["1"]


async def test_an_event_fails_if_its_pod_was_started_after_it_was_sent(bus: Bus, pod: Pod) -> None:
    await lead(bus, POD)
    lose_first_request(bus)
    event = msgspec.structs.replace(post(), sent_us=int((clock.now_s() - LONG_S) * 1e6))

    with pytest.raises(NatsUnavailable, match="not known whether it was handled"):
        await send(bus, event)
    assert pod.handled == []


async def test_many_events_share_one_question(bus: Bus, pod: Pod) -> None:
    questions: list[bytes] = []
    await lead(bus, POD)
    await bus.serve(subjects.gone(TARGET), lambda payload, _: _note(questions, payload))
    sender = make_sender(bus)
    sendings = await fill(pod, bus, sender, 20)

    await bus.disconnected()
    await asyncio.wait(sendings, timeout=5 * LATE_S)
    pod.released.set()
    await asyncio.gather(*sendings)

    assert len(pod.handled) == 20
    assert len(questions) < 5


async def test_events_are_asked_for_in_parts(
    bus: Bus, pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "MAX_ASKED", 2)
    questions: list[bytes] = []
    await lead(bus, POD)
    await bus.serve(subjects.gone(TARGET), lambda payload, _: _note(questions, payload))
    sender = make_sender(bus)
    sendings = await fill(pod, bus, sender, 5)

    await bus.disconnected()
    lose_first_request(bus)
    sendings.append(send(bus, post("5"), sender))
    while len(pod.handled) < len(sendings):
        await asyncio.sleep(0.01)
    pod.released.set()
    await asyncio.gather(*sendings)

    assert sorted(pod.handled) == list("012345")
    assert max(len(decode_question(question)) for question in questions) == 2


async def _note(questions: list[bytes], payload: bytes) -> None:
    questions.append(payload)
