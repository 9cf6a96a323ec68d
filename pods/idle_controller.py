"""Scale to zero: stop idle versions.

A version is stopped when it has been idle for ``FOX_POD_IDLE_S`` and no emitted event waits for
it. Its next event starts it again: see ``pods.wake_responder``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.dispatch.usage import used_lately
from broker.nats.bus import Bus
from pods.fleet import Fleet
from pods.limits import PodLimits

logger = logging.getLogger(__name__)

_CHECKS_PER_IDLE_TIME = 4

FindUsed = Callable[[Bus, float], Awaitable[frozenset[str] | None]]
"""Returns the hashes that were used within a time; None if that is unknown."""


class IdleController:
    """Stops the idle versions of one fleet.

    Args:
        bus: Connection to use.
        fleet: The pods to stop.
        limits: ``idle_s`` and ``min_check_s`` apply.
        find_used: Finds the versions in use; all brokers are queried by default.
    """

    def __init__(
        self, bus: Bus, fleet: Fleet, limits: PodLimits, find_used: FindUsed = used_lately
    ) -> None:
        self._bus = bus
        self._fleet = fleet
        self._idle_s = limits.idle_s
        self._check_every_s = max(limits.idle_s / _CHECKS_PER_IDLE_TIME, limits.min_check_s)
        self._find_used = find_used

    async def run(self) -> None:
        """Stop idle versions until cancelled."""
        while True:
            await asyncio.sleep(self._check_every_s)
            await self._stop_idle()

    async def _stop_idle(self) -> None:
        """Stop the versions that are idle; query usage only if some may be."""
        try:
            if self._fleet.find_idle():
                used_hashes = await self._find_used(self._bus, self._idle_s)
                if used_hashes is not None:
                    await self._fleet.stop_idle(used_hashes)
        except Exception:
            logger.exception("idle check failed")
