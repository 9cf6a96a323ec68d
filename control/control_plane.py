"""The control plane of one process: creates its parts and connects them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from broker.dispatch.key_rotation import KeyRotation
from broker.storage.bundles import Bundles
from broker.storage.pod_board import PodBoard
from broker.storage.state_buckets import StateBuckets
from broker.storage.store import Store
from control.activator import Activator
from control.deployment_checks import check_hash
from control.deployments import CheckSchedule, Deployments
from control.environments import Environments
from control.lists import Lists
from control.pruning import CollectGarbage, FindWaiting, Pruner
from control.releases import Releases
from control.rollouts import DEADLINE_S, Rollouts
from control.scaling import Scaling
from control.shares import Keys, Shares, no_keys
from control.transactions import (
    CLUSTER_SYNC_TIMEOUT_S,
    SYNC_TIMEOUT_S,
    OptimisticTransaction,
)
from kubefox import bundle
from kubefox.errors import NatsUnavailable
from kubefox.scaling import Replicas

WaitFollowed = Callable[[int, float], Awaitable[tuple[str, ...]]]

_MAX_UPLOADS = 2
_DEFAULT_REPLICAS = Replicas()


async def _keep_all(_in_use: frozenset[str]) -> None:
    """Remove nothing: for a pod driver that stores no files."""


async def _all_have_followed(_revision: int, _timeout_s: float) -> tuple[str, ...]:
    """Return that no process is behind."""
    return ()


async def _none_waits() -> frozenset[str]:
    """Return that no emitted event waits."""
    return frozenset()


class ControlPlane:
    """Validates and executes the operations of the control API.

    Args:
        store: The control plane's data.
        bundles: Components' code.
        board: Status of the pods.
        adapters: Kinds of adapters that components may depend on.
        check_schedule: Raises InvalidRequest for a schedule that the cron adapter does not support.
        states: Data of the state store, for pruning.
        keys: Rotates the platform's keys.
        collect_garbage: Removes the files of unused versions that the pod driver stores.
        find_waiting: Returns the hashes for which emitted events wait, for pruning.
        rollout_deadline_s: How long a rollout may be rolling.
        default_replicas: The platform's default limits of replicas.
        share_keys: The keys that sign shares.
        wait_followed: Waits until all processes that route requests have followed a revision, for
            so many seconds, and returns the ids of those that have not.
        now: Clock, Unix time in seconds.

    Attributes:
        keys: Rotates the platform's keys.
        deployments: Plans, deploys and undeploys.
        environments: Writes environments, virtual environments and HTTP adapters.
        releases: Requests and rolls back releases.
        pruner: Removes unused data.
        rollouts: Switches deployments to new content when its pods are ready.
        activator: Reviews pending releases and rollouts. The process of the control role enters it.
        scaling: Shows limits of replicas, and writes overrides.
        shares: Makes and revokes shares.
        lists: Lists all objects, in pages.
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
        keys: KeyRotation,
        collect_garbage: CollectGarbage = _keep_all,
        find_waiting: FindWaiting = _none_waits,
        rollout_deadline_s: float = DEADLINE_S,
        default_replicas: Replicas = _DEFAULT_REPLICAS,
        share_keys: Keys = no_keys,
        wait_followed: WaitFollowed = _all_have_followed,
        now: Callable[[], float] = time.time,
    ) -> None:
        # All parts share one transaction: their checks read records that other parts write.
        transaction = OptimisticTransaction(store)
        self.store = store
        self.keys = keys
        self.bundles = bundles
        self.board = board
        self.rollouts = Rollouts(
            store, board, transaction=transaction, deadline_s=rollout_deadline_s, now=now
        )
        self.deployments = Deployments(
            store,
            bundles,
            adapters=adapters,
            check_schedule=check_schedule,
            rollouts=self.rollouts,
            transaction=transaction,
            now=now,
        )
        self.environments = Environments(store, transaction=transaction)
        self.releases = Releases(store, board.ready_versions, transaction=transaction, now=now)
        self.pruner = Pruner(
            store,
            bundles,
            board,
            states,
            transaction=transaction,
            collect_garbage=collect_garbage,
            find_waiting=find_waiting,
        )
        self.activator = Activator(self.releases, self.rollouts, store, board, now=now)
        self.scaling = Scaling(store, board, transaction=transaction, default=default_replicas)
        self.shares = Shares(store, transaction=transaction, keys=share_keys, now=now)
        self.lists = Lists(store, board, self.scaling)
        self._wait_followed = wait_followed
        # An upload needs memory for its packed and its unpacked bundle.
        self._uploads = asyncio.Semaphore(_MAX_UPLOADS)

    async def find_behind(self, revision: int = 0) -> tuple[str, ...]:
        """Wait until all processes that route requests have followed a revision.

        Args:
            revision: Of a record; 0 for the newest that this process knows.

        Returns:
            The ids of those that have not, after the time that one may need to connect again.

        Raises:
            NatsUnavailable: The connection is down, or this process has not followed the revision.
        """
        timeout_s = CLUSTER_SYNC_TIMEOUT_S if self.store.is_clustered else SYNC_TIMEOUT_S
        revision = revision or self.store.snapshot.revision
        try:
            # No other process is asked for a revision that may not exist.
            async with asyncio.timeout(timeout_s):
                await self.store.wait_revision(revision)
        except TimeoutError:
            raise NatsUnavailable(
                f"the control process has not followed revision {revision} in {timeout_s:g} s"
            ) from None
        return await self._wait_followed(revision, timeout_s)

    async def upload(self, digest: str, data: bytes) -> None:
        """Store a bundle whose content hashes to ``digest``.

        Raises:
            InvalidRequest: The hash is malformed, or the data are no bundle.
            ProblemsFound: The bundle has another hash.
            BodyTooLarge: The unpacked bundle is over the limit.
        """
        check_hash(digest)
        async with self._uploads:
            await asyncio.to_thread(bundle.verify, data, digest)
            await self.bundles.put(digest, data)
