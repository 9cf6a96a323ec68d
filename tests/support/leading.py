"""The part of a pod runner that leads which names the pods of a component version."""

from __future__ import annotations

import msgspec

from broker.nats.bus import Bus
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from kubefox import subjects


async def lead(bus: Bus, *pods: str, since_us: int = 0) -> None:
    """Be a pod runner that leads, and that knows these pods."""

    async def answer(payload: bytes, reply: str) -> None:
        assert msgspec.msgpack.decode(payload, type=WakeRequest).names_pods
        named = WakeReply(state=Wake.AWAKE, pods=pods, since_us=since_us)
        await bus.publish(reply, msgspec.msgpack.encode(named))

    await bus.serve(subjects.WAKES, answer)
