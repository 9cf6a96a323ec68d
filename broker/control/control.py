"""The control plane of one process: its parts, put together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from broker.bundles import Bundles
from broker.control.activator import ReleaseActivator
from broker.control.checks import check_hash
from broker.control.deployments import CheckSchedule, Deployments
from broker.control.environments import Environments
from broker.control.pruning import Pruner, Tidy
from broker.control.releases import Releases
from broker.control.turn import Turn
from broker.pod_board import PodBoard
from broker.state_buckets import StateBuckets
from broker.store import Store
from model import bundle

_UPLOADS_AT_ONCE = 2


async def _keep_all(_named: frozenset[str]) -> None:
    """Stand for a driver that keeps nothing."""


class Control:
    """Validates and writes what the control API is asked for.

    Args:
        store: The control plane's data.
        bundles: Components' code.
        board: What pods are doing.
        adapters: Kinds of adapters that components may depend on.
        check_schedule: Raises InvalidRequest for a schedule that the cron adapter cannot follow.
        states: The state store's data, for pruning.
        tidy: Clears what the pod driver keeps of versions that nothing names.
        now: Clock, Unix time in seconds.

    Attributes:
        deployments: Deploy, undeploy, plan.
        environments: Environments, virtual environments and HTTP adapters.
        releases: Request and roll back.
        pruner: Remove what nothing names.
        activator: To be entered by the process that runs the control role.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        board: PodBoard,
        *,
        adapters: frozenset[str],
        check_schedule: CheckSchedule,
        states: StateBuckets,
        tidy: Tidy = _keep_all,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Put the parts together; nothing is opened or closed."""
        # A compare-and-set guards one record only, and what is checked are others too.
        turn = Turn(store)
        self.store = store
        self.bundles = bundles
        self.board = board
        self.deployments = Deployments(
            store,
            bundles,
            adapters=adapters,
            check_schedule=check_schedule,
            turn=turn,
            now=now,
        )
        self.environments = Environments(store, turn=turn)
        self.releases = Releases(store, board.ready_versions, turn=turn, now=now)
        self.pruner = Pruner(store, bundles, board, states, turn=turn, tidy=tidy)
        self.activator = ReleaseActivator(self.releases, store, board, now=now)
        # An upload holds its bundle packed and unpacked: bounded, whatever the number of clients.
        self._uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def upload(self, digest: str, data: bytes) -> None:
        """Store a bundle whose content hashes to ``digest``.

        Raises:
            InvalidRequest: The hash is malformed, or it is no bundle.
            ProblemsFound: It hashes to something else.
            BodyTooLarge: Over the limit when unpacked.
        """
        check_hash(digest)
        async with self._uploads:
            await asyncio.to_thread(bundle.verify, data, digest)
            await self.bundles.put(digest, data)
