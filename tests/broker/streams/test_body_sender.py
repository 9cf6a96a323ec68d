"""Bodies that are sent while they are produced, between two processes on a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.nats.bus import Bus
from broker.streams.body_sender import (
    BodySender,
    StreamedBody,
    send_chunks,
    send_response_body,
    single_chunk,
)
from broker.streams.outgoing import ReceiverClosed
from kubefox import stream as protocol
from kubefox.errors import (
    ComponentFailed,
    DeadlineExceeded,
    FoxError,
    InvalidRequest,
)
from kubefox.stream import WINDOW_BYTES
from tests.broker.streams.pairs import API, pair, read, wait_empty


async def test_chunks_arrive_in_order_and_no_endpoint_is_left(one: Bus, two: Bus) -> None:
    outgoing, incoming = pair(one, two)
    pieces = [b"a" * 300_000, b"", b"b", b"c" * 3_000_000]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async with asyncio.TaskGroup() as group:
        group.create_task(send_chunks(chunks(), outgoing))
        received = group.create_task(read(incoming))

    assert received.result() == b"".join(pieces)
    await wait_empty(one, two)
    assert two.streams._windows.taken == 0


async def test_no_chunk_is_produced_before_there_is_credit(one: Bus, two: Bus) -> None:
    produced = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal produced
        while True:
            produced += 1
            yield bytes(protocol.CHUNK_BYTES)

    outgoing, incoming = pair(one, two)
    sending = asyncio.create_task(send_chunks(chunks(), outgoing))
    await two.flush()
    assert produced == 0

    await anext(incoming)
    for _ in range(20):
        await two.flush()
    assert produced <= WINDOW_BYTES // protocol.CHUNK_BYTES + 1
    incoming.close()
    await sending
    await wait_empty(one, two)


async def test_a_receiver_that_closes_cancels_and_closes_the_producer(one: Bus, two: Bus) -> None:
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await asyncio.Event().wait()
        finally:
            ended.set()

    outgoing, incoming = pair(one, two)
    sending = asyncio.create_task(send_chunks(chunks(), outgoing))
    assert await anext(incoming) == b"one"

    incoming.close()

    await sending
    assert ended.is_set()
    assert not sending.cancelled()
    with pytest.raises(ReceiverClosed):
        await outgoing.send(b"more")
    with pytest.raises(StopAsyncIteration):
        await anext(incoming)


async def test_a_sending_task_that_is_cancelled_stays_cancelled(one: Bus, two: Bus) -> None:
    outgoing, _ = pair(one, two)
    sending = asyncio.create_task(send_chunks(single_chunk(b"x"), outgoing))
    await asyncio.sleep(0)

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending


@pytest.mark.parametrize(
    ("raised", "received"),
    [(ValueError("internal"), ComponentFailed), (InvalidRequest("no such row"), InvalidRequest)],
)
async def test_a_failure_in_mid_body_is_sent_to_the_reader(
    one: Bus, two: Bus, raised: Exception, received: type[FoxError]
) -> None:
    ends: list[BaseException | None] = []

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise raised

    body = StreamedBody(chunks())
    body.on_end = ends.append
    outgoing, incoming = pair(one, two)
    sending = asyncio.create_task(send_response_body(body, outgoing, "api@1", "e-1"))

    assert await anext(incoming) == b"one"
    with pytest.raises(received) as caught:
        await anext(incoming)

    await sending
    assert "internal" not in str(caught.value)
    assert [type(error) for error in ends] == [type(raised)]
    await wait_empty(one, two)


async def test_a_response_body_that_is_never_read_breaks_at_the_open_timeout(one: Bus) -> None:
    one.streams.idle_timeout_s = 0.1
    outgoing = one.streams.open_outgoing(open_timeout_s=0.05)

    with pytest.raises(DeadlineExceeded):
        await send_chunks(single_chunk(b"x"), outgoing)


async def test_a_failing_producer_of_a_request_body_fails_the_request(one: Bus, two: Bus) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("the file is gone")

    async def send() -> None:
        async with BodySender(one.streams, chunks(), API) as outgoing:
            await read(two.streams.open_incoming(outgoing.subject))

    with pytest.raises(ValueError, match="the file is gone"):
        await send()
    await wait_empty(one, two)
