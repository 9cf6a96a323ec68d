"""Pruning: what no deployment and no release names any more goes.

A version is kept while a deployment, a manifest (of an archived release too) or a pod names it, and
for an hour after a client asked for it: a deploy that was told that its code is there can rely on
it, whichever control process told it so (``broker.bundles.Bundles.claim``). The bundle goes first,
by a compare-and-set that a claim in between wins; only then its records.

A manifest is stored before the state that names it. One that nothing names an hour later is of a
release that was broken off.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from broker.bundles import KEEP_S, Bundles, Held
from broker.control.release_ids import made_at_s
from broker.control.turn import Turn
from broker.control.writes import load
from broker.pod_board import PodBoard
from broker.state_buckets import StateBuckets
from broker.store import Store
from model.component import ComponentVersion
from model.environment import VirtualEnvironment
from model.errors import NatsUnavailable, RevisionConflict
from model.pruning import Pruning, UnusedManifest, UnusedState, UnusedVersion
from model.records import component_key, manifest_key, virtual_environment_key
from model.release import ReleaseManifest, manifests_in_use
from routing.snapshot import Snapshot

AT_ONCE = 100
"""Most things removed by one request: deploys wait for it."""

Tidy = Callable[[frozenset[str]], Awaitable[None]]
"""Told the hashes that are named: what is kept here of others may go."""


class Pruner:
    """Finds what is unused, and removes it.

    Args:
        store: The control plane's data.
        bundles: Components' code.
        board: What pods are doing.
        states: The state store's data.
        turn: Of this process.
        tidy: For what the pod driver keeps.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        board: PodBoard,
        states: StateBuckets,
        *,
        turn: Turn,
        tidy: Tidy,
    ) -> None:
        """Put the parts together; nothing is opened or closed."""
        self._store = store
        self._bundles = bundles
        self._board = board
        self._states = states
        self._turn = turn
        self._tidy = tidy

    async def prune(self, *, is_dry_run: bool, with_state: bool) -> Pruning:
        """Remove what is unused, ``AT_ONCE`` things at the most.

        Args:
            is_dry_run: Only tell what would go, all of it.
            with_state: Data of virtual environments that no longer exist goes as well.

        Raises:
            NatsUnavailable: NATS does not answer, or this process does not know the latest data.
        """
        async with self._turn.alone:
            manifests = self._unused_manifests()
            versions = await self._unused_versions()
            states = await self._unused_states() if with_state else []
            if is_dry_run:
                return _pruning(versions, states, manifests)
            frozen = manifests[:AT_ONCE]
            code = versions[: AT_ONCE - len(frozen)]
            data = states[: AT_ONCE - len(frozen) - len(code)]
            frozen_gone = [each for each in frozen if await self._remove_manifest(each)]
            gone = [each for each in code if await self._remove_version(each)]
            data_gone = [each for each in data if await self._remove_state(each)]
            await self._tidy(self._named())
            found, chosen = (*manifests, *versions, *states), (*frozen, *code, *data)
            return _pruning(gone, data_gone, frozen_gone, left=len(found) - len(chosen))

    def _unused_manifests(self) -> list[UnusedManifest]:
        snapshot, before_s = self._snapshot(), time.time() - KEEP_S
        named = {
            (name, release)
            for name, state in snapshot.releases.items()
            for release in manifests_in_use(state)
        }
        held = (entry.record for entry in snapshot.records.manifests.values())
        ids = sorted((each.virtual_environment, each.id) for each in held)
        return [
            UnusedManifest(virtual_environment=name, release=release)
            for name, release in ids
            if (name, release) not in named and _is_made_before(release, before_s)
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
        held = {each.hash: each for each in await self._bundles.held()}
        known = _known(self._snapshot())
        candidates = (held.keys() | known.keys()) - self._named()
        return [
            _unused(digest, known.get(digest, ()), held.get(digest))
            for digest in sorted(candidates)
            if digest not in held or held[digest].is_unclaimed
        ]

    def _named(self) -> frozenset[str]:
        pods = (status.hash for status in self._board.statuses)
        return frozenset((*_named_in(self._snapshot()), *pods))

    def _snapshot(self) -> Snapshot:
        if not self._store.is_current:
            raise NatsUnavailable("what is in use is not known: the connection to NATS was down")
        return self._store.snapshot

    async def _remove_version(self, unused: UnusedVersion) -> bool:
        if not await self._bundles.remove(unused.hash):
            return False
        for version in _known(self._snapshot()).get(unused.hash, ()):
            await self._remove_record(version)
        return True

    async def _remove_record(self, version: ComponentVersion) -> None:
        key = component_key(version.app, version.name, version.hash)
        found = await load(self._store, key, ComponentVersion)
        if found is None:
            return
        with contextlib.suppress(RevisionConflict):
            await self._store.delete(key, found.revision)
        # Another control process may have taken the same code in the meantime, and found the
        # record there.
        if await self._bundles.has(version.hash):
            await self._store.put_new(key, found.object)

    async def _unused_states(self) -> list[UnusedState]:
        existing = self._snapshot().virtual_environments
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


def _known(snapshot: Snapshot) -> Mapping[str, Sequence[ComponentVersion]]:
    """Return every component version that has a record, by its hash."""
    known: defaultdict[str, list[ComponentVersion]] = defaultdict(list)
    for entry in snapshot.records.components.values():
        known[entry.record.hash].append(entry.record)
    return known


def _named_in(snapshot: Snapshot) -> Iterable[str]:
    """Yield the hashes that deployments and manifests name."""
    yield from (digest for _, _, digest in snapshot.versions)
    for name, state in snapshot.releases.items():
        for release in manifests_in_use(state):
            manifest = snapshot.manifest(name, release)
            for deployment in manifest.deployments.values() if manifest else ():
                yield from deployment.components.values()


def _is_made_before(release: str, time_s: float) -> bool:
    made_s = made_at_s(release)
    return made_s is not None and made_s < time_s


def _unused(digest: str, versions: Iterable[ComponentVersion], held: Held | None) -> UnusedVersion:
    return UnusedVersion(
        hash=digest,
        components=tuple(sorted(f"{each.app}/{each.name}" for each in versions)),
        size_bytes=held.size_bytes if held else 0,
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
