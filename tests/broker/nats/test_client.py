"""The fast path through nats-py: on it, off it, and between the two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import MaxPayloadError

from broker.nats import bus as nats_bus
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient, connect_client
from kubefox.errors import InvalidEvent, NatsUnavailable
from tests.support.nats import NatsServer


def read(pieces: Iterator[bytes]) -> tuple[list[tuple[str, bytes, str]], FastPathClient]:
    """Return the messages that a client parses from ``pieces``, and the client."""
    received: list[tuple[str, bytes, str]] = []

    async def parse() -> FastPathClient:
        client = FastPathClient()
        client.callbacks[7] = lambda *message: received.append(message)
        for piece in pieces:
            await client._ps.parse(piece)
        return client

    return received, asyncio.run(parse())


@given(
    payloads=st.lists(st.binary(max_size=60), max_size=6),
    cuts=st.lists(st.integers(0, 500), max_size=5),
)
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    wire = b"".join(b"MSG a.b 7 r.%d %d\r\n%s\r\n" % (i, len(p), p) for i, p in enumerate(payloads))
    places = sorted({0, len(wire), *(min(cut, len(wire)) for cut in cuts)})
    pieces = [wire[a:b] for a, b in pairwise(places)]

    received, _ = read(iter(pieces))

    assert received == [("a.b", payload, f"r.{i}") for i, payload in enumerate(payloads)]


HEADERS = st.sampled_from([b"", b"NATS/1.0\r\nA: b\r\n\r\n", b"NATS/1.0 100 Idle\r\n\r\n"])


@given(
    messages=st.lists(st.tuples(HEADERS, st.binary(max_size=60)), max_size=6),
    cuts=st.lists(st.integers(0, 500), max_size=5),
)
def test_a_raw_callback_gets_messages_with_and_without_headers_in_order(
    messages: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    wire = b"".join(
        b"HMSG a.b 8 r.%d %d %d\r\n%s%s\r\n" % (i, len(head), len(head + body), head, body)
        if head
        else b"MSG a.b 8 r.%d %d\r\n%s\r\n" % (i, len(body), body)
        for i, (head, body) in enumerate(messages)
    )
    places = sorted({0, len(wire), *(min(cut, len(wire)) for cut in cuts)})
    received: list[tuple[bytes, ...]] = []

    async def parse() -> None:
        client = FastPathClient()
        client.raw_callbacks[8] = lambda *message: received.append(message)
        for a, b in pairwise(places):
            await client._ps.parse(wire[a:b])

    asyncio.run(parse())

    assert received == [
        (b"a.b", b"r.%d" % i, head, body) for i, (head, body) in enumerate(messages)
    ]


def test_only_the_messages_that_were_read_in_pieces_are_parsed_by_nats_py(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = b"HMSG a.b 8 r.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
    wire, piece = message * 1_000, 4_000
    received: list[tuple[bytes, ...]] = []
    parsed = []
    process = FastPathClient._process_msg

    async def count(client: FastPathClient, *message: Any) -> None:
        parsed.append(message)
        await process(client, *message)

    monkeypatch.setattr(FastPathClient, "_process_msg", count)

    async def parse() -> None:
        client = FastPathClient()
        client.raw_callbacks[8] = lambda *message: received.append(message)
        for at in range(0, len(wire), piece):
            await client._ps.parse(wire[at : at + piece])

    asyncio.run(parse())

    assert received == [(b"a.b", b"r.1", b"NATS/1.0\r\n\r\n", b"hi")] * 1_000
    assert len(parsed) <= len(wire) / piece


@pytest.mark.parametrize("cut", [0, 14])
def test_a_subject_that_is_not_utf8_does_not_stop_the_parser(cut: int) -> None:
    wire = b"MSG a.\xff 7 \xfe 2\r\nhi\r\nMSG a 7 3\r\nyou\r\n"

    received, _ = read(iter([wire[:cut], wire[cut:]]))

    assert [payload for _, payload, _ in received] == [b"hi", b"you"]


async def test_a_reply_subject_that_is_not_utf8_does_not_stop_the_read_loop(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def note(payload: bytes, _reply: str) -> None:
        await arrived.put(payload)

    await bus.serve("odd-reply", note)
    await bus.flush()

    _reader, writer = await asyncio.open_connection("127.0.0.1", own_nats_server.port)
    writer.write(b"CONNECT {}\r\nPUB odd-reply \xff 3\r\nodd\r\nPUB odd-reply 4\r\neven\r\n")
    await writer.drain()

    assert await arrived.get() == b"even"
    writer.close()


async def test_publishing_to_an_empty_subject_is_refused_and_keeps_the_connection(bus: Bus) -> None:
    with pytest.raises(InvalidEvent, match="no reply subject"):
        await bus.publish("", b"lost")

    await bus.flush()
    assert bus.is_ready


def test_a_message_without_reply_subject_has_an_empty_one() -> None:
    received, _ = read(iter([b"MSG a 7 2\r\nhi\r\n"]))

    assert received == [("a", b"hi", "")]


def test_a_message_without_fast_path_callback_is_left_to_nats_py() -> None:
    received, client = read(iter([b"MSG a 8 2\r\nhi\r\nMSG b 7 2\r\nho\r\n"]))

    assert received == [("b", b"ho", "")]
    assert client.stats["in_msgs"] >= 1


async def test_fast_path_messages_skip_the_queue_of_nats_py(bus: Bus) -> None:
    received: list[bytes] = []
    subscription = await bus.serve_fast_path(
        "hot", lambda _subject, payload, _reply: received.append(payload)
    )

    await bus.publish("hot", b"1")
    await bus.flush()

    assert received == [b"1"]
    assert subscription.pending_msgs == 0
    assert subscription._received == 0, "the message did not take the fast path"


async def test_a_message_with_headers_goes_through_nats_py(bus: Bus) -> None:
    received = asyncio.Event()
    await bus.serve_fast_path("hot-headers", lambda *_: received.set())

    await bus._client.publish("hot-headers", b"1", headers={"k": "v"})

    await received.wait()


async def test_a_fast_path_callback_that_raises_stops_no_other_message(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[bytes] = []

    def receive(_subject: str, payload: bytes, _reply: str) -> None:
        if payload == b"bad":
            raise ValueError("bad")
        received.append(payload)

    await bus.serve_fast_path("hot-bad", receive)
    for payload in (b"1", b"bad", b"2"):
        await bus.publish("hot-bad", payload)
    await bus.flush()

    assert received == [b"1", b"2"]
    assert "hot-bad" in caplog.text


async def test_a_payload_over_the_limit_is_refused_before_it_is_sent(bus: Bus) -> None:
    with pytest.raises(MaxPayloadError):
        await bus._client.publish("hot", b"x" * (bus.max_payload_bytes + 1))

    assert bus.is_ready


async def test_many_large_messages_wait_for_the_socket(own_nats_server: NatsServer) -> None:
    received = 0

    def count(_subject: str, payload: bytes, _reply: str) -> None:
        nonlocal received
        received += len(payload)

    async with AsyncExitStack() as stack:
        sender, receiver = [
            await stack.enter_async_context(nats_bus.connect(own_nats_server.url, process_id=name))
            for name in ("large-sender", "large-receiver")
        ]
        await receiver.serve_fast_path("large", count)
        await receiver.flush()
        for _ in range(64):
            await sender.publish("large", bytes(1 << 20))
        await sender.flush()
        await receiver.flush()

    assert received == 64 << 20


async def test_call_after_write_waits_until_everything_sent_is_written(bus: Bus) -> None:
    unwritten_bytes: list[int] = []

    def note() -> None:
        unwritten_bytes.append(bus._client._transport.unwritten_bytes)

    bus.call_after_write(note)
    bus.call_after_write(note)
    assert bus.send("no.subscriber", b"x" * 1_000)
    assert bus._client._transport.unwritten_bytes > 1_000
    await bus.flush()

    assert unwritten_bytes == [0, 0]


async def test_call_after_write_runs_also_when_nothing_is_sent(bus: Bus) -> None:
    done = asyncio.Event()

    bus.call_after_write(done.set)

    await done.wait()


async def test_the_first_connection_ends_in_time_although_a_cancellation_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On Python 3.11, ``asyncio.wait_for`` in nats-py loses one that comes together with an answer.
    async def connect(_client: FastPathClient, **_options: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    monkeypatch.setattr(FastPathClient, "connect", connect)

    with pytest.raises(NatsUnavailable):
        await connect_client(FastPathClient(), "nats://127.0.0.1:1", 0.01)
