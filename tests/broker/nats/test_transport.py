"""The socket: order under back-pressure, and callbacks after a write."""

from __future__ import annotations

import asyncio

from broker.nats.bus import Bus


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
