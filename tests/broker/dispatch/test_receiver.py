"""The receiver of a subject's events, on a real nats-server."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.dispatch import replies
from broker.dispatch.handling import Handle, Reply
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from broker.nats.bus import Bus
from kubefox import codec
from kubefox.errors import (
    ComponentFailed,
    DeadlineExceeded,
    FoxError,
    InternalError,
    NatsUnavailable,
    NoPodReady,
    NotDeclared,
)
from kubefox.event import Event, ResponseHead
from kubefox.stream import LEAST_INLINE_BYTES
from tests.support.nats import NatsServer
from tests.support.receiving import FOREVER_S, echo, event, request


@pytest.fixture
async def other(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as other:
        yield other


async def test_a_response_has_status_headers_body_and_source(bus: Bus) -> None:
    async def handle(head: Event, body: codec.Body) -> Reply:
        return Reply(201, (("x", "1"), ("x", "2")), b"for " + head.path.encode() + body)

    async with receive(bus, "work", "q", handle, source="api@1"):
        frame = await bus.request("work", codec.encode(event(path="/a"), b"!"), FOREVER_S)

    response, body = codec.decode_response(frame)
    assert response == ResponseHead(status=201, headers=(("x", "1"), ("x", "2")), source="api@1")
    assert bytes(body) == b"for /a!"


async def test_nothing_of_an_event_stays_in_memory(bus: Bus) -> None:
    tasks: list[weakref.ref[asyncio.Task[object]]] = []

    async def handle(_head: Event, body: codec.Body) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(weakref.ref(task))
        return Reply(body=body)

    async def fail(_head: Event, _body: codec.Body) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(weakref.ref(task))
        # A failure that is not logged: pytest keeps what is.
        raise NotDeclared("not declared")

    async with (
        receive(bus, "work", "q", handle, source="api@1"),
        receive(bus, "failing", "q", fail, source="api@1"),
    ):
        for number in range(3):
            await request(bus, "work", event(str(number)))
        with pytest.raises(NotDeclared):
            await request(bus, "failing", event())
    # The loop holds the task that has ended until its next turn.
    await asyncio.sleep(0)

    assert [task() for task in tasks] == [None] * 4


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
        return [await request(bus, "work", event(f"{client}-{number}")) for number in range(50)]

    async with receive(other, "work", "q", handler("staying"), source="staying@1"):
        async with receive(bus, "work", "q", handler("leaving"), source="leaving@1"):
            clients = [asyncio.create_task(load(number)) for number in range(8)]
            await half.wait()
        answers = await asyncio.gather(*clients)

    assert answers == [[b"%d-%d" % (number, n) for n in range(50)] for number in range(8)]
    assert served["leaving"] > 0
    assert sum(served.values()) == 400


async def test_closing_a_receiver_waits_for_events_in_flight_and_accepts_no_new_ones(
    bus: Bus, other: Bus
) -> None:
    started, released = asyncio.Event(), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.set()
        await released.wait()
        return Reply(body=b"done")

    serving = receive(bus, "work", "q", wait, source="api@1")
    await serving.__aenter__()
    in_flight = asyncio.create_task(request(other, "work", event()))
    await started.wait()
    leaving = asyncio.create_task(serving.__aexit__(None, None, None))
    while True:  # until the server has accepted the subscription away
        try:
            await other.request("work", codec.encode(event(ttl_s=-1)), 0.01)
        except NoPodReady:
            break
        except FoxError:
            continue

    assert not leaving.done()
    released.set()
    assert await in_flight == b"done"
    await leaving


async def test_the_cause_of_a_failure_is_logged_and_not_sent(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(head: Event, body: codec.Body) -> Reply:
        raise InternalError("the disk is full") from OSError(28, "no space on /dev/vdb1")

    async with receive(bus, "work", "q", fail, source="api@1"):
        with pytest.raises(InternalError, match=r"^the disk is full$"):
            await request(bus, "work", event())

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
        await bus.publish("work", codec.encode(event("late", ttl_s=-1)), "reply.x.1")
        await request(bus, "work", event("fresh"))

    assert seen == ["fresh"]
    assert "late arrived after its deadline" in caplog.text


async def test_a_handler_is_cancelled_at_the_deadline(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A fixed remaining time, however long the event took to arrive.
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
            await request(bus, "work", event())

    assert cancelled.is_set()
    assert caught.value.hop == "api@1"


@pytest.mark.parametrize(
    "error",
    [
        *(ValueError("secret"), TimeoutError("secret"), KeyError(), SystemExit(3)),
        *(KeyboardInterrupt(), BaseException("secret"), BaseExceptionGroup("a", [KeyError()])),
    ],
)
async def test_an_exception_of_a_handler_is_logged_and_not_sent(
    bus: Bus, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(head: Event, body: codec.Body) -> Reply:
        raise error

    async with receive(bus, "work", "q", fail, source="api@1"):
        with pytest.raises(ComponentFailed) as caught:
            await request(bus, "work", event())

    assert caught.value.detail == "api@1 failed; see its log"
    assert caught.value.hop == "api@1"
    assert type(error).__name__ in caplog.text


async def test_a_handler_that_awaits_a_cancelled_task_fails(bus: Bus) -> None:
    async def await_cancelled(head: Event, body: codec.Body) -> Reply:
        gone: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        gone.cancel()
        return await gone

    async with receive(bus, "work", "q", await_cancelled, source="api@1"):
        with pytest.raises(ComponentFailed):
            await request(bus, "work", event())


async def test_a_handler_that_cancels_itself_fails(bus: Bus) -> None:
    async def give_up(head: Event, body: codec.Body) -> Reply:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return Reply()

    async with receive(bus, "work", "q", give_up, source="api@1"):
        with pytest.raises(ComponentFailed):
            await request(bus, "work", event())


async def test_a_fox_error_of_a_handler_is_sent(bus: Bus) -> None:
    async def refuse(head: Event, body: codec.Body) -> Reply:
        raise NotDeclared("web does not declare api", hop="web@1")

    async with receive(bus, "work", "q", refuse, source="api@1"):
        with pytest.raises(NotDeclared, match="web does not declare api") as caught:
            await request(bus, "work", event())

    assert caught.value.hop == "web@1"


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\xff" * 40, b"\x01\x00\x00\x01\xc1", b"{}"])
async def test_an_undecodable_frame_is_answered_with_invalid_event(bus: Bus, frame: bytes) -> None:
    async with receive(bus, "work", "q", echo, source="api@1"):
        response, _ = codec.decode_response(await bus.request("work", frame, FOREVER_S))
        after = await request(bus, "work", event(), b"fine")

    assert response.error is not None
    assert response.error.code == "invalid_event"
    assert after == b"fine"


async def test_too_large_response_headers_are_a_failure_of_the_component(bus: Bus) -> None:
    async def much(head: Event, body: codec.Body) -> Reply:
        return Reply(headers=(("x", "a" * bus.max_payload_bytes),))

    async with receive(bus, "work", "q", much, source="api@1"):
        message = r"response of api@1: .* over the limit"
        with pytest.raises(ComponentFailed, match=message) as caught:
            await request(bus, "work", event())

    assert caught.value.hop == "api@1"
    assert bus.is_ready


async def test_a_reply_that_cannot_be_encoded_is_a_failure_of_the_component(bus: Bus) -> None:
    async def half(head: Event, body: codec.Body) -> Reply:
        return Reply(headers=(("x", "\ud800"),))

    async with receive(bus, "work", "q", half, source="api@1"):
        with pytest.raises(ComponentFailed):
            await request(bus, "work", event())


async def test_an_event_without_a_reply_subject_is_handled(bus: Bus) -> None:
    seen = asyncio.Event()

    async def note(head: Event, body: codec.Body) -> Reply:
        seen.set()
        return Reply()

    async with receive(bus, "work", "q", note, source="api@1"):
        await bus.publish("work", codec.encode(event()))
        await seen.wait()
        assert await request(bus, "work", event()) == b""


async def test_a_response_without_a_connection_is_dropped(
    bus: Bus,
    other: Bus,
    own_nats_server: NatsServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replies, "_RECONNECT_S", 0.1)
    started, released = asyncio.Event(), asyncio.Event()

    async def wait(head: Event, body: codec.Body) -> Reply:
        started.set()
        await released.wait()
        return Reply()

    async with receive(bus, "work", "q", wait, source="api@1") as receiver:
        requested = asyncio.create_task(request(other, "work", event()))
        await started.wait()
        hanging = asyncio.create_task(request(bus, "work", event()))
        await asyncio.to_thread(own_nats_server.kill)
        for task in (requested, hanging):
            with pytest.raises(NatsUnavailable):
                await task

        released.set()
        await receiver.wait_idle()

    assert "response of api@1 is dropped" in caplog.text


async def test_an_answer_longer_than_its_event_allows_follows_as_a_stream(bus: Bus) -> None:
    async def handle(head: Event, body: codec.Body) -> Reply:
        return Reply(headers=(("content-length", "1"), ("x", "1")), body=bytes(int(head.query)))

    small, large = (
        msgspec.structs.replace(event(), query=f"{size}", inline_bytes=LEAST_INLINE_BYTES)
        for size in (LEAST_INLINE_BYTES, LEAST_INLINE_BYTES + 1)
    )
    async with receive(bus, "work", "q", handle, source="api@1"):
        whole, content = codec.decode_response(
            await bus.request("work", codec.encode(small), FOREVER_S)
        )
        head, rest = codec.decode_response(
            await bus.request("work", codec.encode(large), FOREVER_S)
        )
        with bus.streams.open_incoming(head.stream) as incoming:
            chunks = [bytes(chunk) async for chunk in incoming]

    assert (whole.stream, len(content)) == ("", LEAST_INLINE_BYTES)
    assert len(rest) == 0
    assert head.headers == (("x", "1"), ("content-length", f"{LEAST_INLINE_BYTES + 1}"))
    assert b"".join(chunks) == bytes(LEAST_INLINE_BYTES + 1)
