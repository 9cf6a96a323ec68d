"""The receiving end of a subject, against a real nats-server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.receiver import Handle, Reply, receive
from model import codec
from model.errors import (
    ComponentFailed,
    DeadlineExceeded,
    FoxError,
    InternalError,
    NatsUnavailable,
    NoPodReady,
    NotDeclared,
    Overloaded,
    from_detail,
)
from model.event import Event, EventType, Response
from tests.support.nats import NatsServer

FOREVER_S = 60


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        yield bus


@pytest.fixture
async def other(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as other:
        yield other


def event(event_id: str = "1", *, path: str = "/", ttl_s: float = FOREVER_S) -> Event:
    return Event(
        id=event_id,
        genesis_id=event_id,
        type=EventType.COMPONENT,
        context="token",
        source="test",
        deadline_ms=int((time.time() + ttl_s) * 1000),
        path=path,
    )


async def ask(bus: Bus, subject: str, head: Event, body: bytes = b"") -> bytes:
    """Return the body of the answer; raise the error in it."""
    frame = await bus.request(subject, codec.encode(head, body), FOREVER_S)
    response, content = codec.decode_response(frame)
    if response.error is not None:
        raise from_detail(response.error)
    return bytes(content)


async def echo(head: Event, body: codec.Body) -> Reply:
    return Reply(body=body)


async def test_an_answer_has_status_headers_body_and_source(bus: Bus) -> None:
    async def handle(head: Event, body: codec.Body) -> Reply:
        return Reply(201, (("x", "1"), ("x", "2")), b"for " + head.path.encode() + body)

    async with receive(bus, "work", "q", handle, source="api@1"):
        frame = await bus.request("work", codec.encode(event(path="/a"), b"!"), FOREVER_S)

    response, body = codec.decode_response(frame)
    assert response == Response(status=201, headers=(("x", "1"), ("x", "2")), source="api@1")
    assert bytes(body) == b"for /a!"


async def test_components_that_call_in_a_circle_do_not_lock(bus: Bus, other: Bus) -> None:
    async def a(head: Event, body: codec.Body) -> Reply:
        if head.path == "/end":
            return Reply(body=b"a")
        return Reply(body=b"a" + await ask(bus, "b", event()))

    async def b(head: Event, body: codec.Body) -> Reply:
        return Reply(body=b"b" + await ask(other, "a", event(path="/end")))

    async with (
        receive(bus, "a", "q", a, source="a@1"),
        receive(other, "b", "q", b, source="b@1"),
    ):
        answers = await asyncio.gather(*(ask(other, "a", event()) for _ in range(50)))

    assert answers == [b"aba"] * 50


async def test_events_over_the_limit_are_refused_as_overloaded(bus: Bus) -> None:
    started, released = asyncio.Semaphore(0), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.release()
        await released.wait()
        return Reply(body=b"done")

    async with receive(bus, "work", "q", wait, source="api@1", max_in_flight=2) as receiver:
        taken = [asyncio.create_task(ask(bus, "work", event())) for _ in range(2)]
        for _ in taken:
            await started.acquire()

        with pytest.raises(Overloaded, match="2 events in hand") as caught:
            await ask(bus, "work", event())

        assert caught.value.hop == "api@1"
        assert receiver.in_flight == 2
        released.set()
        assert await asyncio.gather(*taken) == [b"done"] * 2
        assert await ask(bus, "work", event()) == b"done"


async def test_draining_one_of_two_under_load_loses_nothing(bus: Bus, other: Bus) -> None:
    served = {"leaving": 0, "staying": 0}
    half = asyncio.Event()

    def handler(name: str) -> Handle:
        async def handle(head: Event, body: codec.Body) -> Reply:
            served[name] += 1
            for _ in range(3):
                await asyncio.sleep(0)
            if sum(served.values()) >= 200:
                half.set()
            return Reply(body=head.id.encode())

        return handle

    async def load(client: int) -> list[bytes]:
        return [await ask(bus, "work", event(f"{client}-{each}")) for each in range(50)]

    async with receive(other, "work", "q", handler("staying"), source="staying@1"):
        async with receive(bus, "work", "q", handler("leaving"), source="leaving@1"):
            clients = [asyncio.create_task(load(each)) for each in range(8)]
            await half.wait()
        answers = await asyncio.gather(*clients)

    assert answers == [[b"%d-%d" % (each, n) for n in range(50)] for each in range(8)]
    assert served["leaving"] > 0
    assert sum(served.values()) == 400


async def test_leaving_waits_for_what_is_in_hand_and_takes_nothing_new(
    bus: Bus, other: Bus
) -> None:
    started, released = asyncio.Event(), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.set()
        await released.wait()
        return Reply(body=b"done")

    serving = receive(bus, "work", "q", wait, source="api@1")
    await serving.__aenter__()
    in_hand = asyncio.create_task(ask(other, "work", event()))
    await started.wait()
    leaving = asyncio.create_task(serving.__aexit__(None, None, None))
    while True:  # until the server has taken the subscription away
        try:
            await other.request("work", codec.encode(event(ttl_s=-1)), 0.01)
        except NoPodReady:
            break
        except FoxError:
            continue

    assert not leaving.done()
    released.set()
    assert await in_hand == b"done"
    await leaving


async def test_the_cause_of_a_failure_is_logged_and_not_sent(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(head: Event, body: codec.Body) -> Reply:
        raise InternalError("the disk is full") from OSError(28, "no space on /dev/vdb1")

    async with receive(bus, "work", "q", fail, source="api@1"):
        with pytest.raises(InternalError, match=r"^the disk is full$"):
            await ask(bus, "work", event())

    assert "no space on /dev/vdb1" in caplog.text


async def test_an_event_after_its_deadline_is_dropped(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seen = []

    async def note(head: Event, body: codec.Body) -> Reply:
        seen.append(head.id)
        return Reply()

    async with receive(bus, "work", "q", note, source="api@1"):
        await bus.publish("work", codec.encode(event("late", ttl_s=-1)), "reply")
        await ask(bus, "work", event("fresh"))

    assert seen == ["fresh"]
    assert "late came after its deadline" in caplog.text


async def test_a_handler_is_cancelled_at_the_deadline(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the event took to come here, this much is left.
    monkeypatch.setattr(Event, "remaining_s", lambda _event, _now_s: 0.01)
    cancelled = asyncio.Event()

    async def hang(head: Event, body: codec.Body) -> Reply:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Reply()

    async with receive(bus, "work", "q", hang, source="api@1"):
        with pytest.raises(DeadlineExceeded, match="time ran out in api@1") as caught:
            await ask(bus, "work", event())

    assert cancelled.is_set()
    assert caught.value.hop == "api@1"


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("secret"), TimeoutError("secret"), KeyError(), SystemExit(3)),
        *(KeyboardInterrupt(), BaseException("secret"), BaseExceptionGroup("a", [KeyError()])),
    ],
)
async def test_a_failing_handler_tells_nothing_but_that(
    bus: Bus, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(head: Event, body: codec.Body) -> Reply:
        raise error

    async with receive(bus, "work", "q", fail, source="api@1"):
        with pytest.raises(ComponentFailed) as caught:
            await ask(bus, "work", event())

    assert caught.value.detail == "api@1 failed; its log tells why"
    assert caught.value.hop == "api@1"
    assert type(error).__name__ in caplog.text


async def test_a_handler_that_awaits_something_cancelled_has_failed(bus: Bus) -> None:
    async def await_cancelled(head: Event, body: codec.Body) -> Reply:
        gone: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        gone.cancel()
        return await gone

    async with receive(bus, "work", "q", await_cancelled, source="api@1"):
        with pytest.raises(ComponentFailed):
            await ask(bus, "work", event())


async def test_a_handler_that_cancels_itself_has_failed(bus: Bus) -> None:
    async def give_up(head: Event, body: codec.Body) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return Reply()

    async with receive(bus, "work", "q", give_up, source="api@1"):
        with pytest.raises(ComponentFailed):
            await ask(bus, "work", event())


async def test_an_error_of_the_platform_travels_as_it_is(bus: Bus) -> None:
    async def refuse(head: Event, body: codec.Body) -> Reply:
        raise NotDeclared("web does not declare api", hop="web@1")

    async with receive(bus, "work", "q", refuse, source="api@1"):
        with pytest.raises(NotDeclared, match="web does not declare api") as caught:
            await ask(bus, "work", event())

    assert caught.value.hop == "web@1"


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\xff" * 40, b"\x01\x00\x00\x01\xc1", b"{}"])
async def test_garbage_is_answered_as_an_invalid_event(bus: Bus, frame: bytes) -> None:
    async with receive(bus, "work", "q", echo, source="api@1"):
        response, _ = codec.decode_response(await bus.request("work", frame, FOREVER_S))
        after = await ask(bus, "work", event(), b"fine")

    assert response.error is not None
    assert response.error.code == "invalid_event"
    assert after == b"fine"


async def test_headers_too_large_for_a_message_are_told_to_the_requester(bus: Bus) -> None:
    async def much(head: Event, body: codec.Body) -> Reply:
        return Reply(headers=(("x", "a" * bus.max_payload_bytes),))

    async with receive(bus, "work", "q", much, source="api@1"):
        with pytest.raises(ComponentFailed, match=r"answer of api@1: .* over the limit") as caught:
            await ask(bus, "work", event())

    assert caught.value.hop == "api@1"
    assert bus.is_ready


async def test_an_answer_that_cannot_be_written_is_a_failure_of_the_component(bus: Bus) -> None:
    async def half(head: Event, body: codec.Body) -> Reply:
        return Reply(headers=(("x", "\ud800"),))

    async with receive(bus, "work", "q", half, source="api@1"):
        with pytest.raises(ComponentFailed):
            await ask(bus, "work", event())


async def test_an_event_that_wants_no_answer_is_handled(bus: Bus) -> None:
    seen = asyncio.Event()

    async def note(head: Event, body: codec.Body) -> Reply:
        seen.set()
        return Reply()

    async with receive(bus, "work", "q", note, source="api@1"):
        await bus.publish("work", codec.encode(event()))
        await seen.wait()
        assert await ask(bus, "work", event()) == b""


async def test_an_answer_that_finds_no_connection_is_dropped(
    bus: Bus, other: Bus, own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    started, released = asyncio.Event(), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.set()
        await released.wait()
        return Reply()

    async with receive(bus, "work", "q", wait, source="api@1") as receiver:
        asked = asyncio.create_task(ask(other, "work", event()))
        await started.wait()
        hanging = asyncio.create_task(ask(bus, "work", event()))
        await asyncio.to_thread(own_nats_server.kill)
        for each in (asked, hanging):
            with pytest.raises(NatsUnavailable):
                await each

        released.set()
        await receiver.wait_idle()

    assert "answer of api@1 is dropped" in caplog.text
