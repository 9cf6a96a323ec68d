"""Lets component versions sleep that nobody has used for a while, and wakes them.

Whoever finds no pod asks on ``pods.wake``, see ``broker.waking``. A reconciler that does not lead,
or lets nobody sleep, does not listen there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from broker.bus import Bus
from broker.usage import used_lately
from broker.waking import Wake, WakeReply, WakeRequest
from model import subjects
from model.distill import Version
from model.errors import NatsUnavailable
from pods.fleet import Fleet, Limits

logger = logging.getLogger(__name__)

_LOOKS_PER_IDLE = 4

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WakeRequest).decode


class Waker:
    """Works for one fleet.

    Args:
        bus: Connection to use.
        fleet: Whose pods are stopped and started.
        limits: How long they may be idle.
    """

    def __init__(self, bus: Bus, fleet: Fleet, limits: Limits) -> None:
        """Prepare; nothing is asked or answered before ``run``."""
        self._bus = bus
        self._fleet = fleet
        self._idle_s = limits.idle_s
        self._look_every_s = max(limits.idle_s / _LOOKS_PER_IDLE, limits.least_look_s)
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Let sleep, and wake, until cancelled."""
        subscription = await self._bus.take(subjects.PODS_WAKE, self._take)
        try:
            while True:
                await asyncio.sleep(self._look_every_s)
                await self._look()
        finally:
            for each in self._answering:
                each.cancel()
            await self._bus.stop_serving(subscription)

    async def _look(self) -> None:
        """Let those sleep that are idle; without any that may, nobody is asked."""
        try:
            if self._fleet.may_sleep():
                used = await used_lately(self._bus, self._idle_s)
                if used is not None:
                    await self._fleet.let_sleep(used)
        except Exception:
            logger.exception("nobody can be let sleep")

    def _take(self, _subject: str, payload: bytes, reply: str) -> None:
        """Take a question; each gets a task, for a pod's start is waited for."""
        task = asyncio.create_task(self._answer(payload, reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, payload: bytes, reply: str) -> None:
        state = Wake.NOT_ASLEEP
        try:
            asked = _decode(payload)
            version = Version(*subjects.version_of(asked.target))
            state = await self._fleet.wake(version, asked.hashes)
        except Exception:
            logger.exception("a component version cannot be woken")
        # Whoever hears nothing asks again, or fails as if it did not sleep.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, _encode(WakeReply(state=state)))
