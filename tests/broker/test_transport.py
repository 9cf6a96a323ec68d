"""What a turn of the loop sends is written in order, and then what was left for later is done."""

from __future__ import annotations

import asyncio

from broker.bus import Bus


async def test_what_the_socket_does_not_take_at_once_arrives_in_order(bus: Bus, pod: Bus) -> None:
    count, padding = 400, b"x" * (64 << 10)
    arrived: list[int] = []
    done = asyncio.Event()

    def take(_subject: str, payload: bytes, _reply: str) -> None:
        arrived.append(int(payload[:8]))
        if len(arrived) == count:
            done.set()

    await pod.take("flood", take, "all")
    await pod.flush()

    for number in range(count):
        await bus.publish("flood", b"%08d" % number + padding)
    await done.wait()

    assert arrived == list(range(count))


async def test_what_is_left_for_later_is_done_once(bus: Bus) -> None:
    done: list[str] = []

    bus.send("quiet", b"")
    bus.call_later(lambda: done.append("later"))
    assert done == []
    await bus.flush()
    bus.send("quiet", b"")
    await bus.flush()

    assert done == ["later"]
