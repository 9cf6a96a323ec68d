"""Which of several control processes returns the metrics of the platform to a scrape of all.

Each process has the totals of all. A monitor that scrapes every one of them would count each event
as often. The process with a lease returns the metrics, and the others return none. The lease is
asked for with the first such scrape, so a platform that is not monitored so does no work for it.
"""

from __future__ import annotations

import asyncio
import logging

from broker.nats.bus import Bus
from broker.nats.lease import hold

logger = logging.getLogger(__name__)

LEASE = "metrics"
_RESTART_S = 1.0


class ScrapeLease:
    """The lease for this process.

    Args:
        bus: Connection to use; its process id names the holder.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._is_wanted = asyncio.Event()
        self._is_held = False

    def ask(self) -> bool:
        """Return whether this process has the lease; if not, it will get it when it is free."""
        self._is_wanted.set()
        return self._is_held

    async def run(self) -> None:
        """Get the lease once it is wanted, and keep it, until cancelled."""
        await self._is_wanted.wait()
        while True:
            try:
                async with hold(self._bus, LEASE, self._bus.process_id) as lease:
                    self._is_held = True
                    await lease.lost.wait()
            except Exception:
                logger.exception("the lease %s cannot be held, trying again", LEASE)
                await asyncio.sleep(_RESTART_S)
            finally:
                self._is_held = False
