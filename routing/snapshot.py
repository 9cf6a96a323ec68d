"""Everything routing knows at one moment.

A process follows the KV bucket with ``snapshot = snapshot.apply(changes)``: one assignment. Whoever
decides holds on to one snapshot, so a change in mid-request does not change its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from model.component import ComponentVersion
from model.deployment import Deployment
from model.distill import Version
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.records import Change
from model.release import ReleaseManifest, ReleaseState
from routing.bindings import GENERATION, Bindings
from routing.plain import PlainIndex
from routing.records import Records, View


class Snapshot:
    """The control plane's records and the index over them. Never changes.

    Attributes:
        records: With their revisions, for the rest of routing.
        plain: Index of the active releases, for the rest of routing.
        bindings: Shared by all snapshots that descend from one.
    """

    __slots__ = ("bindings", "plain", "records")

    def __init__(self, records: Records, plain: PlainIndex, bindings: Bindings) -> None:
        """Take over the parts; see ``empty``."""
        self.records = records
        self.plain = plain
        self.bindings = bindings

    @staticmethod
    def empty(bindings: int = GENERATION) -> Snapshot:
        """Return the snapshot of nothing.

        Args:
            bindings: How many compiled bindings of each kind are surely kept.
        """
        return Snapshot(Records.empty(), PlainIndex.empty(), Bindings(bindings))

    def apply(self, changes: Iterable[Change]) -> Snapshot:
        """Return the snapshot after some changes, in any order and perhaps seen before.

        Costs in proportion to the changes and the active releases they touch.
        """
        records, changed = self.records.apply(changes)
        return Snapshot(records, self.plain.updated(changed, records), self.bindings)

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
        return View(self.records.deployments)

    @property
    def environments(self) -> Mapping[str, Environment]:
        """Environments by name."""
        return View(self.records.environments)

    @property
    def virtual_environments(self) -> Mapping[str, VirtualEnvironment]:
        """Virtual environments by name."""
        return View(self.records.virtual_environments)

    @property
    def http_adapters(self) -> Mapping[str, HTTPAdapter]:
        """HTTP adapters by name."""
        return View(self.records.http_adapters)

    @property
    def releases(self) -> Mapping[str, ReleaseState]:
        """Releases by virtual environment."""
        return View(self.records.releases)

    @property
    def versions(self) -> frozenset[Version]:
        """Every component version that some deployment is made of; counted, not looked for."""
        return frozenset(self.records.uses)

    def manifest(self, virtual_environment: str, release: str) -> ReleaseManifest | None:
        """Return what a Stable release froze, or None."""
        return self.records.manifest(virtual_environment, release)

    def component(self, app: str, name: str, digest: str) -> ComponentVersion | None:
        """Return a component version, or None."""
        return self.records.component(app, name, digest)
