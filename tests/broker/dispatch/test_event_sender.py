"""An event whose pod died, or that found none, is sent again if that is safe."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import msgspec
import pytest

from broker.dispatch import event_sender
from broker.dispatch.event_sender import EventSender
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone, encode_notice
from broker.nats.held_requests import HeldRequests, encode_held
from broker.nats.lost_connection import ConnectionLost, NotSent
from broker.nats.wake_requests import Wake, WakeReply
from broker.streams.outgoing import OutgoingStream
from kubefox import codec, subjects
from kubefox.errors import ComponentGone, NoPodReady
from kubefox.event import Event, EventType
from kubefox.senders import PLATFORM
from tests.support.nats import NatsServer

TARGET = subjects.component("shop", "api", "a" * 32)
LONG_S = 60.0


def event(method: str = "GET") -> Event:
    return Event(
        id="1",
        genesis_id="1",
        type=EventType.HTTP,
        context="",
        source="adapter/http",
        deadline_ms=int((time.time() + LONG_S) * 1000),
        method=method,
    )


class FakePod:
    """A pod of the version that answers with its name, or never."""

    def __init__(self, bus: Bus, name: str, *, answers: bool) -> None:
        self.name = name
        self.received = asyncio.Event()
        self.held: list[str] = []
        self.attempts: list[int] = []
        self._bus = bus
        self.answers = answers

    async def start(self) -> None:
        self._subscriptions = [
            await self._bus.serve(subjects.requests_to(TARGET), self._handle, "pods"),
            await self._bus.serve(subjects.pod(self.name), self._answer_held),
        ]
        await self._bus.flush()

    async def die(self, *others: str) -> None:
        """End without a response; the reconciler announces it."""
        for subscription in self._subscriptions:
            await self._bus.stop_serving(subscription)
        gone = PodGone(subject=TARGET, pod=self.name, others=others)
        await self._bus.publish(subjects.pods_gone(TARGET), encode_notice(gone))

    async def _handle(self, payload: bytes, reply: str) -> None:
        self.attempts.append(codec.decode_event(payload)[0].attempt)
        if self.answers:
            await self._bus.publish(reply, self.name.encode())
        else:
            self.held.append(reply)
        self.received.set()

    async def _answer_held(self, _payload: bytes, reply: str) -> None:
        answer = HeldRequests(pod=self.name, held=tuple(self.held))
        await self._bus.publish(reply, encode_held(answer))


async def start_pod(bus: Bus, name: str, *, answers: bool = True) -> FakePod:
    pod = FakePod(bus, name, answers=answers)
    await pod.start()
    return pod


async def wait_disconnected(bus: Bus) -> None:
    while bus.is_ready:
        await asyncio.sleep(0.01)


async def answer_wake(bus: Bus, *states: Wake) -> None:
    """Be a reconciler that answers so, one after another."""
    remaining = list(states)

    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, msgspec.msgpack.encode(WakeReply(state=remaining.pop(0))))

    await bus.serve(subjects.WAKES, answer)


async def restart_after(bus: Bus, *, questions: int, before: Wake = Wake.RESTARTING) -> None:
    """Be a reconciler whose pod is ready at the last of some questions."""
    asked: list[bytes] = []

    async def answer(payload: bytes, reply: str) -> None:
        asked.append(payload)
        if len(asked) == questions:
            await start_pod(bus, "restarted")
        state = Wake.AWAKE if len(asked) >= questions else before
        await bus.publish(reply, msgspec.msgpack.encode(WakeReply(state=state)))

    await bus.serve(subjects.WAKES, answer)


def send(
    sender: EventSender,
    method: str = "GET",
    *,
    idempotent: bool | None = None,
    body: OutgoingStream | None = None,
) -> asyncio.Task[bytes]:
    head = event(method)
    sending = sender.request(
        TARGET, head, codec.encode(head), LONG_S, body=body, idempotent=idempotent
    )
    return asyncio.ensure_future(sending)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_an_idempotent_request_is_sent_once_more_when_its_pod_dies(
    bus: Bus, method: str
) -> None:
    sender = EventSender(bus, PLATFORM)
    dying = await start_pod(bus, "api-1", answers=False)
    sending = send(sender, method)
    await dying.received.wait()
    living = await start_pod(bus, "api-2")

    await dying.die("api-2")

    assert await sending == b"api-2"
    assert sender.retries == 1
    assert (dying.attempts, living.attempts) == ([1], [2])


@pytest.mark.parametrize(
    ("method", "idempotent"), [("POST", None), ("PATCH", None), ("GET", False)]
)
async def test_another_request_fails_at_once_although_a_second_pod_lives(
    bus: Bus, method: str, idempotent: bool | None
) -> None:
    sender = EventSender(bus, PLATFORM)
    dying = await start_pod(bus, "api-1", answers=False)
    sending = send(sender, method, idempotent=idempotent)
    await dying.received.wait()
    living = await start_pod(bus, "api-2")

    await dying.die("api-2")

    with pytest.raises(ComponentGone):
        await sending
    assert not living.received.is_set()
    assert sender.retries == 0


async def test_a_request_that_is_declared_idempotent_is_sent_once_more(bus: Bus) -> None:
    dying = await start_pod(bus, "api-1", answers=False)
    sending = send(EventSender(bus, PLATFORM), "POST", idempotent=True)
    await dying.received.wait()
    await start_pod(bus, "api-2")

    await dying.die("api-2")

    assert await sending == b"api-2"


async def test_a_body_that_no_pod_has_begun_to_read_is_sent_to_another_pod(bus: Bus) -> None:
    body = bus.streams.open_outgoing(TARGET)
    dying = await start_pod(bus, "api-1", answers=False)
    sending = send(EventSender(bus, PLATFORM), "PUT", body=body)
    await dying.received.wait()
    await start_pod(bus, "api-2")

    await dying.die("api-2")

    assert await sending == b"api-2"
    assert body.is_open
    body.abort()


async def test_a_request_whose_body_was_partly_read_is_not_sent_again(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    body = bus.streams.open_outgoing(TARGET)
    async with buses.connect(own_nats_server.url, process_id="api-1-00") as reader:
        dying = await start_pod(reader, "api-1", answers=False)
        sending = send(EventSender(bus, PLATFORM), "PUT", body=body)
        await dying.received.wait()
        incoming = reader.streams.open_incoming(body.subject)
        reading = asyncio.ensure_future(anext(incoming))
        await body.wait_opened()
        await body.send(b"first chunk")
        await reading
        living = await start_pod(bus, "api-2")

        await dying.die("api-2")

        with pytest.raises(ComponentGone):
            await sending
    assert not living.received.is_set()


async def test_a_request_at_another_pod_is_not_touched(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM)
    working = await start_pod(bus, "api-1", answers=False)
    sending = send(sender)
    await working.received.wait()
    dying = await start_pod(bus, "api-2")

    await dying.die("api-1")
    # The other pod's answer to the question is here before this message.
    await bus.flush()
    await bus.publish(working.held[0], b"api-1")

    assert await sending == b"api-1"
    assert sender.retries == 0


async def test_a_request_is_not_sent_a_third_time(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM)
    first = await start_pod(bus, "api-1", answers=False)
    sending = send(sender)
    await first.received.wait()
    second = await start_pod(bus, "api-2", answers=False)
    await first.die("api-2")
    await second.received.wait()

    await second.die()

    with pytest.raises(ComponentGone):
        await sending
    assert sender.retries == 1


async def test_the_retry_budget_bounds_the_retries(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While time passes between two retries, tokens are earned and lost.
    monkeypatch.setattr(event_sender, "time", SimpleNamespace(monotonic=lambda: 0.0))
    sender = EventSender(bus, PLATFORM)
    dying = await start_pod(bus, "api-1", answers=False)
    sendings = [send(sender) for _ in range(30)]
    while len(dying.held) < len(sendings):
        await bus.flush()
    await start_pod(bus, "api-2")

    await dying.die("api-2")
    results = await asyncio.gather(*sendings, return_exceptions=True)

    # 10, and 20 % of the 30 requests.
    assert results.count(b"api-2") == sender.retries == 16
    assert sum(isinstance(result, ComponentGone) for result in results) == 14


async def test_a_request_waits_for_the_restart_of_the_only_pod(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM)
    await restart_after(bus, questions=2)
    dying = await start_pod(bus, "api-1", answers=False)
    sending = send(sender)
    await dying.received.wait()

    await dying.die()

    assert await sending == b"restarted"
    assert (sender.retries, sender.holds) == (1, 1)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_any_request_that_found_no_pod_waits_for_the_restart(bus: Bus, method: str) -> None:
    sender = EventSender(bus, PLATFORM)
    await restart_after(bus, questions=3)

    assert await send(sender, method) == b"restarted"
    assert (sender.retries, sender.holds) == (0, 1)


async def test_a_reconciler_that_notices_a_death_later_than_nats_is_asked_again(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM)
    await restart_after(bus, questions=3, before=Wake.AWAKE)

    assert await send(sender) == b"restarted"


async def test_a_pod_that_nats_does_not_reach_is_not_awaited_beyond_the_hold(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM, hold_s=0.1)
    await answer_wake(bus, *[Wake.AWAKE] * 100)

    with pytest.raises(NoPodReady):
        await send(sender)
    assert sender.holds == 1


async def test_without_a_hold_a_request_fails_at_once(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM, hold_s=0)
    await answer_wake(bus, Wake.RESTARTING)

    with pytest.raises(NoPodReady):
        await send(sender)


async def test_a_version_that_failed_is_not_waited_for(bus: Bus) -> None:
    await answer_wake(bus, Wake.NOT_IDLE)

    with pytest.raises(NoPodReady):
        await send(EventSender(bus, PLATFORM))


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_event_without_a_connection_is_sent_when_there_is_one_again(
    own_nats_server: NatsServer, method: str
) -> None:
    async with buses.connect(own_nats_server.url, process_id="caller") as bus:
        await start_pod(bus, "a")
        own_nats_server.kill()
        await wait_disconnected(bus)
        sender = EventSender(bus, PLATFORM, LONG_S)

        sending = send(sender, method)
        await asyncio.sleep(0)
        await asyncio.to_thread(own_nats_server.start)

        assert await sending == b"a"
        assert sender.holds == 1


async def test_an_event_fails_if_there_is_no_connection_within_the_hold(
    own_nats_server: NatsServer,
) -> None:
    async with buses.connect(own_nats_server.url, process_id="caller") as bus:
        own_nats_server.kill()
        await wait_disconnected(bus)

        with pytest.raises(NotSent):
            await send(EventSender(bus, PLATFORM, hold_s=0.1))


@pytest.mark.parametrize(("method", "attempts"), [("GET", [1, 2]), ("POST", [1])])
async def test_an_event_in_flight_on_a_lost_connection_is_sent_again_if_it_is_repeatable(
    own_nats_server: NatsServer, method: str, attempts: list[int]
) -> None:
    async with buses.connect(own_nats_server.url, process_id="caller") as bus:
        pod = await start_pod(bus, "a", answers=False)
        sending = send(EventSender(bus, PLATFORM, LONG_S), method)
        await pod.received.wait()
        pod.answers = True

        await asyncio.to_thread(own_nats_server.kill)
        await asyncio.to_thread(own_nats_server.start)

        if method == "GET":
            assert await sending == b"a"
        else:
            with pytest.raises(ConnectionLost):
                await sending
        assert pod.attempts == attempts


async def test_an_idempotent_event_is_sent_again_each_time_a_connection_is_lost(bus: Bus) -> None:
    sender = EventSender(bus, PLATFORM)
    pod = await start_pod(bus, "a", answers=False)
    sending = send(sender)

    for attempts in (1, 2, 3):
        while len(pod.attempts) < attempts:
            await bus.flush()
        pod.answers = attempts == 3
        await bus.disconnected()

    assert await sending == b"a"
    assert pod.attempts == [1, 2, 3, 4]
    assert sender.retries == 3
