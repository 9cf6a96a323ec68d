"""The snapshot: all records at one revision, with the index over them.

A process follows the KV bucket with ``snapshot = snapshot.apply(changes)``: one assignment. A
decision keeps one snapshot, so a change during a request does not affect it. A change of many
active releases takes long: ``SnapshotBuilder`` divides it into steps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice

from kubefox.component import ComponentVersion
from kubefox.deployment import MIN_COMMIT_PREFIX, Deployment
from kubefox.distill import Version
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.records import Change
from kubefox.release import ReleaseManifest, ReleaseState
from kubefox.rollout import RolloutState
from kubefox.scaling import ScaleOverride
from kubefox.steps import Steps, finish
from routing.language.rule import RuleError
from routing.snapshot.active_release import Released
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.records import MAX_TOMBSTONES, RecordMapping, Records
from routing.snapshot.release_index import ReleaseIndex
from routing.snapshot.release_index_builder import ReleaseIndexBuilder
from routing.snapshot.route_binding import RouteBinding
from routing.snapshot.route_bindings import CACHE_BYTES, RouteBindings
from routing.table.compiled_rule import compile_rule


class Snapshot:
    """The control plane's records and the index over them. Never changes.

    Attributes:
        records: Records with their revisions; for the modules of routing.
        release_index: Index of the active releases; for the modules of routing.
        route_bindings: Cache shared by all snapshots that descend from one.
    """

    __slots__ = ("records", "release_index", "route_bindings")

    def __init__(
        self, records: Records, release_index: ReleaseIndex, route_bindings: RouteBindings
    ) -> None:
        self.records = records
        self.release_index = release_index
        self.route_bindings = route_bindings

    @staticmethod
    def empty(
        route_bindings_bytes: int = CACHE_BYTES,
        *,
        max_tombstones: int = MAX_TOMBSTONES,
        has_labels: bool = True,
    ) -> Snapshot:
        """Return a snapshot without records.

        Args:
            route_bindings_bytes: Memory for route bindings.
            max_tombstones: How many deleted keys are remembered at most.
            has_labels: Whether deployments can be found by their labels.
        """
        records = Records.empty(max_tombstones, has_labels=has_labels)
        return Snapshot(records, ReleaseIndex.empty(), RouteBindings(route_bindings_bytes))

    def apply(self, changes: Iterable[Change]) -> Snapshot:
        """Return the snapshot after some changes, in any order and perhaps already applied.

        The cost is proportional to the changes and to the active releases that they affect.
        """
        builder = SnapshotBuilder(self)
        for change in changes:
            builder.add(change)
        finish(builder.steps())
        return builder.finish()

    def binding_of(self, released: Released) -> RouteBinding:
        """Return the route binding of a released app."""
        return self.route_bindings.released(released, self.release_index, self.records)

    @property
    def revision(self) -> int:
        """The highest KV revision that was applied."""
        return self.records.revision

    def revision_of(self, key: str) -> int:
        """Return the KV revision of the record under ``key``, 0 if there is none."""
        return self.records.revision_of(key)

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        """Deployments by name."""
        return RecordMapping(self.records.deployments)

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Environments by name."""
        return RecordMapping(self.records.environments)

    @property
    def virtual_environments(self) -> Mapping[str, VirtualEnvironment]:
        """Virtual environments by name."""
        return RecordMapping(self.records.virtual_environments)

    @property
    def http_adapters(self) -> Mapping[str, HTTPAdapter]:
        """HTTP adapters by name."""
        return RecordMapping(self.records.http_adapters)

    @property
    def releases(self) -> Mapping[str, ReleaseState]:
        """Releases by virtual environment."""
        return RecordMapping(self.records.releases)

    @property
    def rollouts(self) -> Mapping[str, RolloutState]:
        """Rollouts by deployment."""
        return RecordMapping(self.records.rollouts)

    @property
    def rolling(self) -> Iterator[RolloutState]:
        """The rollouts that are rolling. Does not read the others."""
        return (self.records.rollouts[name].record for name in self.records.rolling)

    @property
    def scales(self) -> Mapping[str, ScaleOverride]:
        """Overrides by ``<app>.<component>`` or ``<app>.<component>.<deployment>``."""
        return RecordMapping(self.records.scales)

    def deployments_matching(self, selector: str) -> Iterator[Deployment]:
        """Return the deployments that a selector names; see ``Deployment.matches``.

        The labels are indexed, so the cost does not depend on the number of deployments.
        """
        deployments, labelled = self.deployments, self.records.labelled
        if labelled is None:
            raise RuntimeError("the snapshot of this process has no labels")
        names = set(labelled.get(selector, ()))
        if selector in deployments:
            names.add(selector)
        for name in labelled.get(selector[:MIN_COMMIT_PREFIX], ()):
            if name not in names and deployments[name].matches(selector):
                names.add(name)
        return (deployments[name] for name in names)

    @property
    def uses(self) -> Mapping[Version, int]:
        """How many deployments use each component version, 1 or more."""
        return self.records.uses

    @property
    def versions(self) -> frozenset[Version]:
        """Every component version that a deployment uses. Does not read the deployments."""
        return frozenset(self.records.uses)

    @property
    def released_versions(self) -> Iterator[Version]:
        """Every component version that plain URLs need, live or frozen."""
        return (Version(*key.split(".")[1:]) for key in self.release_index.uses)

    def manifest(self, virtual_environment: str, release: str) -> ReleaseManifest | None:
        """Return the manifest of a Stable release, or None."""
        return self.records.manifest(virtual_environment, release)

    def component(self, app: str, name: str, digest: str) -> ComponentVersion | None:
        """Return a component version, or None."""
        return self.records.component(app, name, digest)


class SnapshotBuilder:
    """Builds the next snapshot in steps; other tasks may run between two steps.

    Call ``add`` for all changes, then iterate over ``steps``, then call ``finish``. The snapshot
    before stays unchanged.

    Many releases may use a variable of an environment, and each takes 75 µs. If a change of it may
    leave them behind, their plain URLs follow the earlier record of the environment, whole, until
    ``refresh_behind`` has made them anew. So other changes need not wait for all of them.

    Args:
        before: The snapshot to start from.
        at_once: Number of releases that are made anew with a change of an environment; with more,
            all of them are left behind. None for any number.
        restored: For a first snapshot, records that were read from a checkpoint; the changes are
            later ones.

    Attributes:
        add: Adds a change; in any order, and perhaps already applied.
    """

    def __init__(
        self, before: Snapshot, at_once: int | None = None, *, restored: Records | None = None
    ) -> None:
        self._before = before
        self._at_once = at_once
        self._left: dict[str, RecordEntry[Environment]] = {}
        self._writer = (restored or before.records).writer()
        self.add = self._writer.write
        self._records = before.records
        self._release_index = before.release_index

    def steps(self) -> Steps[None]:
        """Apply the changes. Each step is short: one key, one rule, or one active release."""
        before = self._before
        self._records = self._writer.finish()
        if before.records.revision:
            affected = yield from self._affected()
        else:
            # Nothing was indexed before the first records, so no change has to be looked at.
            affected = self._records.releases
        if affected is not None:
            builder = ReleaseIndexBuilder(before.release_index, self._records)
            for name, environment in self._left.items():
                builder.leave_behind(name, environment)
                yield
            for name in affected:
                yield from builder.refresh(name)
            self._release_index = builder.finish()

    def _affected(self) -> Steps[Collection[str] | None]:
        """Return the virtual environments whose active release is out of date; see the index.

        The first snapshot may hold more than is kept, so its requests make what they need; here,
        what requests for a new component version or deployment need is made.
        """
        before, affected = self._before, dict[str, None]()
        is_affected = False
        for key in self._writer.changed:
            found = before.release_index.affected(key, before.records, self._records)
            if found is not None:
                is_affected = True
                if (earlier := self._earlier_environment(key, found)) is not None:
                    self._left.update(dict.fromkeys(found, earlier))
                else:
                    affected.update(dict.fromkeys(found))
            yield
            yield from self._prepare(key)
        return affected if is_affected else None

    def _earlier_environment(
        self, key: str, affected: Collection[str]
    ) -> RecordEntry[Environment] | None:
        """Return the record that affected releases may follow for now; None if they may not."""
        kind, _, name = key.partition(".")
        is_changed = kind == "environment" and name in self._records.environments
        if not is_changed or self._at_once is None or len(affected) <= self._at_once:
            return None
        return self._before.records.environments.get(name)

    def refresh_behind(self, limit: int) -> Steps[None]:
        """Make some of the releases anew that were left behind; instead of ``steps``."""
        self._records = self._before.records.renewed()
        builder = ReleaseIndexBuilder(self._before.release_index, self._records)
        for name in islice(self._before.release_index.behind, limit):
            yield from builder.refresh(name)
        self._release_index = builder.finish()

    def _prepare(self, key: str) -> Steps[None]:
        """Make what requests for a new component version or deployment need."""
        kind, _, name = key.partition(".")
        if kind == "component":
            yield from self._compile_rules(name)
        elif kind == "deployment" and (entry := self._records.deployments.get(name)):
            yield from self._before.route_bindings.prepare(entry.record, self._records)

    def _compile_rules(self, name: str) -> Steps[None]:
        entry = self._records.components.get(name)
        for route in entry.record.definition.routes if entry is not None else ():
            with suppress(RuleError):
                compile_rule(route.rule)
            yield

    def finish(self) -> Snapshot:
        """Return the snapshot after all steps."""
        return Snapshot(self._records, self._release_index, self._before.route_bindings)
