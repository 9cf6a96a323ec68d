"""The short way through nats-py: on it, off it, and between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import MaxPayloadError

from broker import bus as nats_bus
from broker.bus import Bus
from broker.client import HotClient
from model.errors import NatsUnavailable
from tests.support.nats import NatsServer


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with nats_bus.connect(nats_server.url, process_id="client-test") as connected:
        yield connected


def read(pieces: Iterator[bytes]) -> tuple[list[tuple[str, bytes, str]], HotClient]:
    """Let a client that never connects read ``pieces``; return what its taker got."""
    taken: list[tuple[str, bytes, str]] = []

    async def parse() -> HotClient:
        client = HotClient()
        client.takers[7] = lambda *message: taken.append(message)
        for piece in pieces:
            await client._ps.parse(piece)
        return client

    return taken, asyncio.run(parse())


@given(
    payloads=st.lists(st.binary(max_size=60), max_size=6),
    cuts=st.lists(st.integers(0, 500), max_size=5),
)
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    wire = b"".join(b"MSG a.b 7 r.%d %d\r\n%s\r\n" % (i, len(p), p) for i, p in enumerate(payloads))
    places = sorted({0, len(wire), *(min(each, len(wire)) for each in cuts)})
    pieces = [wire[a:b] for a, b in pairwise(places)]

    taken, _ = read(iter(pieces))

    assert taken == [("a.b", payload, f"r.{i}") for i, payload in enumerate(payloads)]


@pytest.mark.parametrize("cut", [0, 14])
def test_a_message_on_a_subject_that_is_no_text_stops_nobody(cut: int) -> None:
    wire = b"MSG a.\xff 7 \xfe 2\r\nhi\r\nMSG a 7 3\r\nyou\r\n"

    taken, _ = read(iter([wire[:cut], wire[cut:]]))

    assert [payload for _, payload, _ in taken] == [b"hi", b"you"]


async def test_a_reply_subject_that_is_no_text_stops_nobody(
    bus: Bus, nats_server: NatsServer
) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def note(payload: bytes, _reply: str) -> None:
        await arrived.put(payload)

    await bus.serve("odd-reply", note)
    await bus.flush()

    _reader, writer = await asyncio.open_connection("127.0.0.1", nats_server.port)
    writer.write(b"CONNECT {}\r\nPUB odd-reply \xff 3\r\nodd\r\nPUB odd-reply 4\r\neven\r\n")
    await writer.drain()

    assert await arrived.get() == b"even"
    writer.close()


async def test_publishing_to_no_subject_is_refused_and_keeps_the_connection(bus: Bus) -> None:
    with pytest.raises(NatsUnavailable):
        await bus.publish("", b"for nobody")

    await bus.flush()
    assert bus.is_ready


def test_a_message_without_reply_has_an_empty_one() -> None:
    taken, _ = read(iter([b"MSG a 7 2\r\nhi\r\n"]))

    assert taken == [("a", b"hi", "")]


def test_what_has_no_taker_is_left_to_the_library() -> None:
    taken, client = read(iter([b"MSG a 8 2\r\nhi\r\nMSG b 7 2\r\nho\r\n"]))

    assert taken == [("b", b"ho", "")]
    assert client.stats["in_msgs"] >= 1


async def test_hot_messages_skip_the_queue_of_the_library(bus: Bus) -> None:
    taken: list[bytes] = []
    subscription = await bus.take("hot", lambda _subject, payload, _reply: taken.append(payload))

    await bus.publish("hot", b"1")
    await bus.flush()

    assert taken == [b"1"]
    assert subscription.pending_msgs == 0
    assert subscription._received == 0, "nats-py has not seen it: the short way was taken"


async def test_a_message_with_headers_goes_the_way_of_the_library(bus: Bus) -> None:
    taken = asyncio.Event()
    await bus.take("hot-headers", lambda *_: taken.set())

    await bus._client.publish("hot-headers", b"1", headers={"k": "v"})

    await asyncio.wait_for(taken.wait(), 5)


async def test_a_taker_that_raises_stops_nothing(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[bytes] = []

    def take(_subject: str, payload: bytes, _reply: str) -> None:
        if payload == b"bad":
            raise ValueError("bad")
        taken.append(payload)

    await bus.take("hot-bad", take)
    for payload in (b"1", b"bad", b"2"):
        await bus.publish("hot-bad", payload)
    await bus.flush()

    assert taken == [b"1", b"2"]
    assert "hot-bad" in caplog.text


async def test_a_payload_over_the_limit_is_refused_before_it_is_sent(bus: Bus) -> None:
    with pytest.raises(MaxPayloadError):
        await bus._client.publish("hot", b"x" * (bus.max_payload_bytes + 1))

    assert bus.is_ready


async def test_many_large_messages_wait_for_the_socket(nats_server: NatsServer) -> None:
    received = 0

    def count(_subject: str, payload: bytes, _reply: str) -> None:
        nonlocal received
        received += len(payload)

    async with AsyncExitStack() as stack:
        sender, taker = [
            await stack.enter_async_context(nats_bus.connect(nats_server.url, process_id=name))
            for name in ("large-sender", "large-taker")
        ]
        await taker.take("large", count)
        await taker.flush()
        for _ in range(64):
            await sender.publish("large", bytes(1 << 20))
        await sender.flush()
        await taker.flush()

    assert received == 64 << 20


async def test_what_is_left_for_later_is_done_when_what_was_sent_is_written(bus: Bus) -> None:
    unwritten_bytes: list[int] = []

    def later() -> None:
        unwritten_bytes.append(bus._client._transport.unwritten_bytes)

    bus.call_later(later)
    bus.call_later(later)
    assert bus.send("nobody.listens", b"x" * 1_000)
    assert bus._client._transport.unwritten_bytes > 1_000
    await bus.flush()

    assert unwritten_bytes == [0, 0]


async def test_what_is_left_for_later_is_done_without_anything_to_send(bus: Bus) -> None:
    done = asyncio.Event()

    bus.call_later(done.set)

    await done.wait()
