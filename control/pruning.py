"""Pruning: removes code, manifests and data that no deployment and no release uses.

A component version is in use while a deployment (an earlier generation too), a rollout, a manifest
(of an archived release too) or a pod names it, or an emitted event waits for it. Its bundle is also
kept for an hour after a client has claimed it (``broker.storage.bundles.Bundles.claim``), so that a
deploy can rely on it with every control process. The bundle is removed first, by a compare-and-set
that fails if the bundle is claimed in between, and only then the records of the version.

What NATS keeps of a deleted record is removed after a week, a limited number at once.

A manifest is stored before the state that names it. A manifest that no state names after an hour
is left over from a failed request.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable

from broker.nats.watch import DELETE_MARKER_S
from broker.runtime.cooperative import run_in_slices
from broker.storage.bundles import KEEP_S, Bundles, StoredBundle
from broker.storage.pod_board import PodBoard
from broker.storage.state_buckets import StateBuckets
from broker.storage.store import Store
from control.named_data import named_hashes, recorded_versions, unnamed_manifests
from control.release_ids import creation_time_s
from control.stored_record import load
from control.transactions import OptimisticTransaction
from kubefox.component import ComponentVersion
from kubefox.environment import VirtualEnvironment
from kubefox.errors import NatsUnavailable, RevisionConflict
from kubefox.pruning import Pruning, UnusedManifest, UnusedState, UnusedVersion
from kubefox.records import component_key, manifest_key, virtual_environment_key
from kubefox.release import ReleaseManifest
from routing.snapshot.snapshot import Snapshot

MAX_REMOVALS = 100
"""Things that one request removes at most: other writes wait for it."""

MAX_PURGED = 5_000
"""Deleted records of which one request removes what is left at most; no write waits for it."""

CollectGarbage = Callable[[frozenset[str]], Awaitable[None]]
"""Gets the hashes that are in use, and removes the local files of all other versions."""

FindWaiting = Callable[[], Awaitable[frozenset[str]]]
"""Returns the hashes of the versions for which emitted events wait."""


class Pruner:
    """Finds and removes unused data.

    Args:
        store: The control plane's data.
        bundles: Components' code.
        board: Status of the pods.
        states: Data of the state store.
        transaction: The transaction of this process.
        collect_garbage: Removes the files of unused versions that the pod driver stores.
        find_waiting: Returns the hashes for which emitted events wait.
        max_removals: Things that one call of ``prune`` removes at most.
        keep_deleted_s: How long delete markers and earlier revisions are kept.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        board: PodBoard,
        states: StateBuckets,
        *,
        transaction: OptimisticTransaction,
        collect_garbage: CollectGarbage,
        find_waiting: FindWaiting,
        max_removals: int = MAX_REMOVALS,
        keep_deleted_s: float = DELETE_MARKER_S,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._board = board
        self._states = states
        self._transaction = transaction
        self._collect_garbage = collect_garbage
        self._find_waiting = find_waiting
        self._max_removals = max_removals
        self._keep_deleted_s = keep_deleted_s

    async def prune(self, *, is_dry_run: bool, with_state: bool) -> Pruning:
        """Remove unused data, at most ``max_removals`` things.

        Args:
            is_dry_run: Only return what is unused, without a limit.
            with_state: Also remove the data of virtual environments that no longer exist.

        Raises:
            NatsUnavailable: NATS does not answer, or this process does not have the latest data.
        """
        pruning = await self._prune(is_dry_run=is_dry_run, with_state=with_state)
        if not (is_dry_run or pruning.left):
            await self._store.purge_deleted(time.time() - self._keep_deleted_s, MAX_PURGED)
        return pruning

    async def _prune(self, *, is_dry_run: bool, with_state: bool) -> Pruning:
        async with self._transaction.exclusive:
            manifests = await self._unused_manifests()
            versions = await self._unused_versions()
            states = await self._unused_states() if with_state else []
            if is_dry_run:
                return _pruning(versions, states, manifests)
            limit = self._max_removals
            manifests_now = manifests[:limit]
            versions_now = versions[: limit - len(manifests_now)]
            states_now = states[: limit - len(manifests_now) - len(versions_now)]
            left = (len(manifests) + len(versions) + len(states)) - (
                len(manifests_now) + len(versions_now) + len(states_now)
            )
            removed_manifests = [
                unused for unused in manifests_now if await self._remove_manifest(unused)
            ]
            removed_versions = [
                unused for unused in versions_now if await self._remove_version(unused)
            ]
            removed_states = [unused for unused in states_now if await self._remove_state(unused)]
            await self._collect_garbage(await self._hashes_in_use())
            return _pruning(removed_versions, removed_states, removed_manifests, left=left)

    async def _unused_manifests(self) -> list[UnusedManifest]:
        before_s = time.time() - KEEP_S
        unnamed = await run_in_slices(unnamed_manifests(self._current_snapshot()))
        return [
            UnusedManifest(virtual_environment=name, release=release)
            for name, release in unnamed
            if _is_created_before(release, before_s)
        ]

    async def _remove_manifest(self, unused: UnusedManifest) -> bool:
        key = manifest_key(unused.virtual_environment, unused.release)
        found = await load(self._store, key, ReleaseManifest)
        if found is None:
            return False
        try:
            await self._store.delete(key, found.revision)
        except RevisionConflict:
            # Another control process has removed it.
            return False
        return True

    async def _unused_versions(self) -> list[UnusedVersion]:
        bundles = {bundle.hash: bundle for bundle in await self._bundles.all()}
        recorded = await run_in_slices(recorded_versions(self._current_snapshot()))
        in_use = await self._hashes_in_use() | await self._find_waiting()
        candidates = (bundles.keys() | recorded.keys()) - in_use
        return [
            _unused(digest, recorded.get(digest, ()), bundles.get(digest))
            for digest in sorted(candidates)
            if digest not in bundles or bundles[digest].is_unclaimed
        ]

    async def _hashes_in_use(self) -> frozenset[str]:
        named = await run_in_slices(named_hashes(self._current_snapshot()))
        return frozenset((*named, *(status.hash for status in self._board.statuses)))

    def _current_snapshot(self) -> Snapshot:
        if not self._store.is_current:
            raise NatsUnavailable(
                "cannot prune: the local snapshot may be behind, because the connection to NATS "
                "is or was down: retry"
            )
        return self._store.snapshot

    async def _remove_version(self, unused: UnusedVersion) -> bool:
        if not await self._bundles.remove(unused.hash):
            return False
        snapshot = self._current_snapshot()
        for named in unused.components:
            app, _, name = named.partition("/")
            version = snapshot.component(app, name, unused.hash)
            if version is not None:
                await self._remove_record(version)
        return True

    async def _remove_record(self, version: ComponentVersion) -> None:
        key = component_key(version.app, version.name, version.hash)
        found = await load(self._store, key, ComponentVersion)
        if found is None:
            return
        with contextlib.suppress(RevisionConflict):
            await self._store.delete(key, found.revision)
        # Another control process may have stored the same bundle in the meantime, and relied on
        # the record.
        if await self._bundles.has(version.hash):
            await self._store.create_if_missing(key, found.object)

    async def _unused_states(self) -> list[UnusedState]:
        existing = self._current_snapshot().virtual_environments
        return [
            UnusedState(virtual_environment=name, size_bytes=size)
            for name, size in sorted((await self._states.sizes()).items())
            if name not in existing
        ]

    async def _remove_state(self, unused: UnusedState) -> bool:
        key = virtual_environment_key(unused.virtual_environment)
        if await load(self._store, key, VirtualEnvironment) is not None:
            return False
        await self._states.delete(unused.virtual_environment)
        return True


def _is_created_before(release: str, time_s: float) -> bool:
    created_s = creation_time_s(release)
    return created_s is not None and created_s < time_s


def _unused(
    digest: str, versions: Iterable[ComponentVersion], bundle: StoredBundle | None
) -> UnusedVersion:
    return UnusedVersion(
        hash=digest,
        components=tuple(sorted(f"{version.app}/{version.name}" for version in versions)),
        size_bytes=bundle.size_bytes if bundle else 0,
    )


def _pruning(
    versions: Iterable[UnusedVersion],
    states: Iterable[UnusedState],
    manifests: Iterable[UnusedManifest],
    left: int = 0,
) -> Pruning:
    return Pruning(
        versions=tuple(versions), states=tuple(states), manifests=tuple(manifests), left=left
    )
