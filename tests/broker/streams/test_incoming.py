"""When the reader of a stream is woken: for what it waits for, and in its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from broker.nats.bus import Bus
from broker.streams.incoming import IncomingStream
from kubefox import stream as protocol
from kubefox.stream import FrameKind


def open_alone(bus: Bus) -> IncomingStream:
    """Return a stream whose other end is this test."""
    return bus.streams.open_incoming(f"{bus.streams.prefix}{'0' * 16}")


async def begin_to_read(incoming: IncomingStream) -> asyncio.Future[list[bytes]]:
    """Return a task that reads all chunks, and waits for the first one."""

    async def read() -> list[bytes]:
        return [bytes(chunk) async for chunk in incoming]

    reading = asyncio.ensure_future(read())
    while incoming._waiter is None:
        await asyncio.sleep(0)
    return reading


async def test_a_ping_wakes_no_reader(one: Bus) -> None:
    incoming = open_alone(one)
    reading = await begin_to_read(incoming)
    waiter = incoming._waiter
    assert waiter is not None

    incoming.receive(protocol.encode(FrameKind.PING), "")
    await asyncio.sleep(0)

    assert waiter is incoming._waiter
    assert not waiter.done()
    incoming.close()
    assert await reading == []


async def test_the_reader_of_chunks_is_woken_once_and_in_its_turn(one: Bus) -> None:
    incoming = open_alone(one)
    steps: list[Callable[[], object]] = []
    incoming.wake_in_turn = steps.append
    reading = await begin_to_read(incoming)

    for number in range(3):
        incoming.receive(protocol.encode(FrameKind.CHUNK, number, b"%d" % number), "")
    incoming.receive(protocol.encode(FrameKind.END, 3), "")
    await asyncio.sleep(0)
    assert not reading.done()
    (step,) = steps
    step()

    assert await reading == [b"0", b"1", b"2"]


async def test_a_reader_that_is_busy_is_not_woken(one: Bus) -> None:
    incoming = open_alone(one)
    steps: list[Callable[[], object]] = []
    incoming.wake_in_turn = steps.append
    first = asyncio.ensure_future(anext(incoming))
    while incoming._waiter is None:
        await asyncio.sleep(0)
    incoming.receive(protocol.encode(FrameKind.CHUNK, 0, b"0"), "")
    steps.pop()()
    await first
    has_waited = incoming.has_waited

    incoming.receive(protocol.encode(FrameKind.CHUNK, 1, b"1"), "")

    assert steps == []
    assert await anext(incoming) == b"1"
    assert (has_waited, incoming.has_waited) == (True, False)
