"""The socket: order under back-pressure, and callbacks after a write."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

from broker.nats.bus import Bus
from broker.nats.lost_connection import NotSent
from broker.nats.transport import TURN_BYTES, ConnectionBroken


async def test_messages_arrive_in_order_under_back_pressure(bus: Bus, pod: Bus) -> None:
    count, padding = 400, b"x" * (64 << 10)
    arrived: list[int] = []
    done = asyncio.Event()

    def receive(_subject: str, payload: bytes, _reply: str) -> None:
        arrived.append(int(payload[:8]))
        if len(arrived) == count:
            done.set()

    await pod.serve_fast_path("flood", receive, "all")
    await pod.flush()

    for number in range(count):
        await bus.publish("flood", b"%08d" % number + padding)
    await done.wait()

    assert arrived == list(range(count))


async def test_call_after_write_runs_once(bus: Bus) -> None:
    done: list[str] = []

    bus.send("quiet", b"")
    bus.call_after_write(lambda: done.append("written"))
    assert done == []
    await bus.flush()
    bus.send("quiet", b"")
    await bus.flush()

    assert done == ["written"]


async def serve_numbers(bus: Bus) -> tuple[list[int], asyncio.Protocol, bytes]:
    """Return the messages that arrive, where they arrive, and a read of many of them."""
    arrived: list[int] = []
    served = await bus.serve_fast_path("many", lambda _on, data, _to: arrived.append(int(data)))
    socket = cast("asyncio.Transport", bus._client._transport._socket)
    message = b"MSG many %d 8\r\n%08d\r\n"
    count = 4 * TURN_BYTES // len(message % (served._id, 0))
    read = b"".join(message % (served._id, number) for number in range(count))
    protocol = socket.get_protocol()
    assert isinstance(protocol, asyncio.Protocol)
    return arrived, protocol, read


async def test_what_was_read_at_once_is_passed_on_in_turns_of_the_loop(bus: Bus) -> None:
    arrived, protocol, read = await serve_numbers(bus)
    counts: list[int] = []

    protocol.data_received(read)
    while len(arrived) < read.count(b"MSG"):
        counts.append(len(arrived))
        await asyncio.sleep(0)
    await bus.flush()

    assert len(counts) >= 4
    assert arrived == list(range(len(arrived)))


async def test_what_was_read_before_the_connection_ended_is_passed_on(bus: Bus) -> None:
    arrived, protocol, read = await serve_numbers(bus)

    protocol.data_received(read)
    protocol.connection_lost(None)
    await asyncio.sleep(0)

    assert arrived == list(range(read.count(b"MSG")))


async def test_what_is_sent_on_a_connection_that_was_just_closed_fails_as_a_lost_connection(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, transport = bus._client, bus._client._transport
    closed, go_on, report = asyncio.Event(), asyncio.Event(), client._error_cb

    async def report_late(error: Exception) -> None:
        closed.set()
        await go_on.wait()
        await report(error)

    monkeypatch.setattr(client, "_error_cb", report_late)
    assert transport._socket is not None
    transport._socket.abort()
    await closed.wait()

    # nats-py does not know yet that there is no connection.
    assert bus.is_ready
    for _ in range(10):
        with contextlib.suppress(NotSent):
            await bus.publish("quiet", b"", headers={"name": "value"})
        await asyncio.sleep(0)
    with pytest.raises(ConnectionBroken):
        transport.write(b"PING\r\n")
    with pytest.raises(ConnectionBroken):
        await transport.drain()

    go_on.set()
    assert await bus.wait_ready(10)
    await bus.publish("quiet", b"", headers={"name": "value"})
    await bus.flush()
