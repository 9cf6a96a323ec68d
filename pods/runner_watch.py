"""Notice pod runners that have died: fail the requests of their pods, and clear the pod board.

A runner that is killed cannot announce the end of its pods. They drain for a while, unless they
died with it. Each other runner sends it a small request from time to time; if no process serves its
subject any more, NATS says so at once. A runner that hangs still has its subscription, and keeps
its entries.

In a cluster, a runner whose server hangs or has died is not served either, until it has connected
to another server. So its pods are announced as cut off first, and as dead only if the runner is not
back after ``CUT_OFF_S``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from typing import Protocol

from broker.dispatch.pod_runners import ANSWER_S, Ping, encode
from broker.nats import lease
from broker.nats.bus import Bus
from broker.storage.pod_board import BoardEntry, PodBoard
from kubefox import subjects
from kubefox.errors import FoxError, NoPodReady
from kubefox.pod import PodStatus, RunnerStatus

logger = logging.getLogger(__name__)

LEASE = "reconciler"
"""The lease of the runner that leads; its holder is the runner's name."""

CHECK_S = 1.0
RECONNECT_S = 5.0
"""After a reconnect of this process, others count as dead only after so long."""

CUT_OFF_S = 10.0
"""A process leaves a server that hangs within 6 s, and needs up to 2 s for each attempt to connect
to another one."""

ORPHANS_S = 3.0
"""After so long, the pods of a dead runner have ended (``fox.kit.pod.ORPHAN_S``)."""


class AnnounceGone(Protocol):
    """Fails the requests that a dead pod has left; see ``pods.gone_announcer``."""

    def __call__(
        self, dead: PodStatus, *, may_drain: bool = False, is_cut_off: bool = False
    ) -> Awaitable[None]:
        """Announce the pod's end."""


class RunnerWatch:
    """Watches the other runners on the board.

    Args:
        bus: Connection to use.
        board: Names the runners and their pods.
        name: Name of this runner.
        announce_gone: Fails the requests that a dead pod has left unanswered.
    """

    def __init__(self, bus: Bus, board: PodBoard, name: str, announce_gone: AnnounceGone) -> None:
        self._bus = bus
        self._board = board
        self._name = name
        self._announce_gone = announce_gone
        self._begin_s = 0.0
        # Since when each runner is not served (``time.monotonic``).
        self._missing_since_s: dict[str, float] = {}
        # Keys of dead runners whose removal the board does not show yet.
        self._removed: set[str] = set()
        bus.on_reconnect(self._wait_for_others)
        board.listen(self._on_board_change)

    async def run(self) -> None:
        """Watch until cancelled; without another runner, this waits for one."""
        async with asyncio.TaskGroup() as group:
            while True:
                changes = self._board.changes
                for runner in self._others():
                    if time.monotonic() >= self._begin_s and await self._is_dead(runner):
                        pods = self._board.pods_of_runner(runner.name)
                        await self._announce(pods, may_drain=True)
                        await self._remove(runner, pods)
                        group.create_task(self._announce_later(pods))
                if self._others():
                    await asyncio.sleep(CHECK_S)
                else:
                    await self._board.wait_change(changes)

    async def _wait_for_others(self) -> None:
        """Give the others time to reconnect as well: NATS may have been restarted."""
        self._begin_s = time.monotonic() + RECONNECT_S
        self._missing_since_s.clear()
        # NATS may have lost a removal that it had confirmed.
        self._removed.clear()

    def _on_board_change(
        self, key: str | None, _before: BoardEntry | None, _after: BoardEntry | None
    ) -> None:
        if key is None:
            self._removed.clear()
        else:
            self._removed.discard(key)

    def _others(self) -> list[RunnerStatus]:
        return [runner for runner in self._board.runners if runner.name != self._name]

    async def _is_dead(self, runner: RunnerStatus) -> bool:
        """Return whether a runner has died; announce its pods if it may be cut off.

        It is False for one that was found dead before, as long as the board still shows it.
        """
        if runner.key in self._removed:
            return False
        if await self._is_served(runner):
            self._missing_since_s.pop(runner.name, None)
            return False
        if not self._bus.is_clustered:
            return True
        if runner.name not in self._missing_since_s:
            logger.warning("pod runner %s is not connected to NATS", runner.name)
            self._missing_since_s[runner.name] = time.monotonic()
            for pod in self._board.pods_of_runner(runner.name):
                await self._announce_gone(pod, may_drain=True, is_cut_off=True)
        return time.monotonic() - self._missing_since_s[runner.name] >= CUT_OFF_S

    async def _is_served(self, runner: RunnerStatus) -> bool:
        try:
            await self._bus.request(subjects.runner(runner.name), encode(Ping()), ANSWER_S)
        except NoPodReady:
            return False
        except FoxError:
            return True
        return True

    async def announce_orphans(self, pods: Iterable[PodStatus]) -> None:
        """Fail the requests of pods whose runner has died, after those pods have drained."""
        await self._announce(pods, may_drain=True)
        await self._announce_later(pods)

    async def _remove(self, runner: RunnerStatus, pods: Iterable[PodStatus]) -> None:
        """Remove the entries and the lease of a dead runner."""
        logger.warning("pod runner %s has ended without notice", runner.name)
        self._missing_since_s.pop(runner.name, None)
        # The board may change before the removal is confirmed.
        self._removed.add(runner.key)
        try:
            for key in (*(status.key for status in pods), runner.key):
                await self._board.remove(key)
        except FoxError:
            self._removed.discard(runner.key)
        await lease.release_for(self._bus, LEASE, runner.name)

    async def _announce_later(self, pods: Iterable[PodStatus]) -> None:
        await asyncio.sleep(ORPHANS_S)
        await self._announce(pods, may_drain=False)

    async def _announce(self, pods: Iterable[PodStatus], *, may_drain: bool) -> None:
        for status in pods:
            await self._announce_gone(status, may_drain=may_drain)
