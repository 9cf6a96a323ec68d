"""Streams between two processes on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.pour import Streamed, Upload, deliver, once, pour
from broker.stream import Incoming, NotWanted, Outgoing
from broker.streams import WINDOWS_BYTES
from model import stream as protocol
from model import subjects
from model.errors import (
    ComponentFailed,
    ComponentGone,
    DeadlineExceeded,
    FoxError,
    InvalidEvent,
    InvalidRequest,
    NatsUnavailable,
    StreamBroken,
)
from model.stream import MIN_WINDOW_BYTES, WINDOW_BYTES, Kind
from tests.support.nats import NatsServer

API = subjects.component("shop", "api", "a" * 32)
SOON_S = 10


@pytest.fixture
async def one(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="one") as bus:
        yield bus


@pytest.fixture
async def two(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="two") as bus:
        yield bus


def pair(sender: Bus, receiver: Bus, component: str = "") -> tuple[Outgoing, Incoming]:
    outgoing = sender.streams.send()
    return outgoing, receiver.streams.receive(outgoing.subject, component)


async def read(incoming: Incoming) -> bytes:
    with incoming:
        return b"".join([each async for each in incoming])


async def opened(one: Bus, two: Bus, component: str = "") -> tuple[Outgoing, Incoming]:
    """Return a stream of which the first chunk has been read."""
    # In the platform, whoever sends a stream's subject has subscribed to it before.
    await one.flush()
    await two.flush()
    outgoing, incoming = pair(one, two, component)
    first = asyncio.ensure_future(anext(incoming))
    await outgoing.wait_opened()
    await outgoing.send(b"first")
    assert await first == b"first"
    return outgoing, incoming


async def wait_empty(*buses_: Bus) -> None:
    async with asyncio.timeout(SOON_S):
        while any(len(each.streams) for each in buses_):
            await asyncio.sleep(0)


async def test_what_is_sent_arrives_in_order_and_leaves_nothing(one: Bus, two: Bus) -> None:
    outgoing, incoming = pair(one, two)
    pieces = [b"a" * 300_000, b"", b"b", b"c" * 3_000_000]

    async def chunks() -> AsyncIterator[bytes]:
        for each in pieces:
            yield each

    async with asyncio.TaskGroup() as group:
        group.create_task(pour(chunks(), outgoing))
        received = group.create_task(read(incoming))

    assert received.result() == b"".join(pieces)
    await wait_empty(one, two)
    assert two.streams._free_bytes == WINDOWS_BYTES


async def test_nothing_is_made_before_it_is_wanted(one: Bus, two: Bus) -> None:
    made = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield bytes(protocol.CHUNK_BYTES)

    outgoing, incoming = pair(one, two)
    pouring = asyncio.create_task(pour(chunks(), outgoing))
    await two.flush()
    assert made == 0

    await anext(incoming)
    for _ in range(20):
        await two.flush()
    assert made <= WINDOW_BYTES // protocol.CHUNK_BYTES + 1
    incoming.close()
    await pouring
    await wait_empty(one, two)


async def test_a_receiver_that_closes_cancels_and_closes_what_makes_the_chunks(
    one: Bus, two: Bus
) -> None:
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            ended.set()

    outgoing, incoming = pair(one, two)
    pouring = asyncio.create_task(pour(chunks(), outgoing))
    assert await anext(incoming) == b"one"

    incoming.close()

    await pouring
    assert ended.is_set()
    assert not pouring.cancelled()
    with pytest.raises(NotWanted):
        await outgoing.send(b"more")
    with pytest.raises(StopAsyncIteration):
        await anext(incoming)


async def test_a_task_that_is_cancelled_itself_stays_cancelled(one: Bus, two: Bus) -> None:
    outgoing, _ = pair(one, two)
    pouring = asyncio.create_task(pour(once(b"x"), outgoing))
    await asyncio.sleep(0)

    pouring.cancel()

    with pytest.raises(asyncio.CancelledError):
        await pouring


@pytest.mark.parametrize(
    ("raised", "told"),
    [(ValueError("internal"), ComponentFailed), (InvalidRequest("no such row"), InvalidRequest)],
)
async def test_what_fails_in_mid_body_is_told_to_who_reads(
    one: Bus, two: Bus, raised: Exception, told: type[FoxError]
) -> None:
    ends: list[BaseException | None] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise raised

    body = Streamed(chunks())
    body.on_end = ends.append
    outgoing, incoming = pair(one, two)
    delivering = asyncio.create_task(deliver(body, outgoing, "api@1", "e-1"))

    assert await anext(incoming) == b"one"
    with pytest.raises(told) as caught:
        await anext(incoming)

    await delivering
    assert "internal" not in str(caught.value)
    assert [type(each) for each in ends] == [type(raised)]
    await wait_empty(one, two)


async def test_a_process_that_is_gone_is_noticed_by_the_next_frame(
    one: Bus, own_nats_server: NatsServer
) -> None:
    async with buses.connect(own_nats_server.url, process_id="third") as third:
        outgoing, _ = await opened(one, third)

    async def send_on() -> None:
        while True:
            await outgoing.send(b"more")
            await one.flush()

    with pytest.raises(ComponentGone):
        await send_on()
    await wait_empty(one)


async def test_who_waits_asks_whether_the_other_process_is_there(
    one: Bus, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.stream.LOOK_S", 0.05)
    async with buses.connect(own_nats_server.url, process_id="third") as third:
        _, incoming = await opened(third, one)

    with pytest.raises(ComponentGone):
        await anext(incoming)


async def test_the_last_pod_of_a_component_that_dies_breaks_its_streams(one: Bus, two: Bus) -> None:
    _, incoming = await opened(one, two, API)

    await one.publish(subjects.PODS_GONE, API.encode())

    with pytest.raises(ComponentGone, match="api@aaaaaaaaaaaa") as caught:
        await anext(incoming)
    assert caught.value.hop == "api@aaaaaaaaaaaa"


async def test_a_connection_that_is_lost_breaks_all_streams(
    one: Bus, two: Bus, own_nats_server: NatsServer
) -> None:
    outgoing, incoming = await opened(one, two)

    await asyncio.to_thread(own_nats_server.kill)

    with pytest.raises(NatsUnavailable):
        await anext(incoming)
    await wait_empty(one, two)
    with pytest.raises(NatsUnavailable):
        await outgoing.send(b"more")


async def test_a_stream_without_progress_ends_at_both_ends(one: Bus, two: Bus) -> None:
    two.streams.idle_s = 0.1
    outgoing, incoming = await opened(one, two)

    with pytest.raises(DeadlineExceeded, match=r"no progress for 0\.1 s"):
        await anext(incoming)
    await wait_empty(one, two)
    with pytest.raises(DeadlineExceeded, match="no progress"):
        await outgoing.send(b"more")


async def test_a_reader_that_is_slow_and_says_so_is_waited_for(one: Bus, two: Bus) -> None:
    one.streams.idle_s = two.streams.idle_s = 0.2
    outgoing, incoming = await opened(one, two)
    begun_s = asyncio.get_running_loop().time()

    while asyncio.get_running_loop().time() < begun_s + 0.6:
        incoming.touch()
        await asyncio.sleep(0.02)

    assert outgoing.is_open
    await outgoing.end()
    assert await read(incoming) == b""


async def test_an_answer_that_nobody_begins_to_read_is_given_up(one: Bus) -> None:
    one.streams.idle_s = 0.1
    outgoing = one.streams.send(open_s=0.05)

    with pytest.raises(DeadlineExceeded):
        await pour(once(b"x"), outgoing)


async def test_a_chunk_that_is_lost_breaks_the_stream_at_both_ends(one: Bus, two: Bus) -> None:
    outgoing, incoming = await opened(one, two)

    outgoing._core.chunk(memoryview(b"lost"))
    await outgoing.send(b"next")

    with pytest.raises(StreamBroken, match="lost chunks"):
        await anext(incoming)
    await wait_empty(one, two)


@pytest.mark.parametrize("payload", [b"", b"\xff" * 20, protocol.encode(Kind.CREDIT, 1)])
async def test_garbage_breaks_only_its_own_stream(one: Bus, two: Bus, payload: bytes) -> None:
    _, incoming = await opened(one, two)
    other, reading = await opened(one, two)

    await one.publish(incoming.subject, payload)

    with pytest.raises(StreamBroken):
        await anext(incoming)
    await other.end()
    assert await read(reading) == b""


async def test_a_frame_for_a_stream_that_is_over_is_answered_by_its_end(one: Bus, two: Bus) -> None:
    incoming = two.streams.receive(f"{one.streams.prefix}1-{'0' * 16}")

    with pytest.raises(StreamBroken, match="knows nothing of it"):
        await anext(incoming)


@pytest.mark.parametrize(
    "peer",
    [
        "$JS.API.STREAM.DELETE.KV_kubefox",
        "inbox.two.stream.1-0123456789abcdef 0\r\n\r\nPUB evil 0\r\n\r\nPUB x",
        "inbox.two.stream.1-0123456789abcdef\n",
        "inbox.two.7",
        "",
    ],
)
async def test_nothing_is_sent_to_what_is_no_end_of_a_stream(one: Bus, peer: str) -> None:
    with pytest.raises(InvalidEvent, match="no stream"):
        one.streams.receive(peer)

    assert len(one.streams) == 0


async def test_with_many_streams_each_window_is_smaller(one: Bus) -> None:
    nobody = f"{one.streams.prefix}1-{'0' * 16}"
    windows = [one.streams.receive(nobody).window_bytes for _ in range(200)]

    assert windows[0] == WINDOW_BYTES
    assert windows[-1] == MIN_WINDOW_BYTES
    assert sum(windows) < 64 << 20


async def test_what_makes_an_upload_fails_there_and_at_who_sends_it(one: Bus, two: Bus) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("the file is gone")

    async def send() -> None:
        async with Upload(one.streams, chunks(), API) as outgoing:
            await read(two.streams.receive(outgoing.subject))

    with pytest.raises(ValueError, match="the file is gone"):
        await send()
    await wait_empty(one, two)
