"""Everything routing knows at one moment.

A process follows the KV bucket with ``snapshot = snapshot.apply(changes)``: one assignment. Whoever
decides holds on to one snapshot, so a change in mid-request does not change its answer. A change
that touches many active releases takes a while: a ``Transition`` does it in steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from model.component import ComponentVersion
from model.deployment import MIN_COMMIT_PREFIX, Deployment
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
        transition = Transition(self)
        for change in changes:
            transition.take(change)
        for _ in transition.steps():
            pass
        return transition.finish()

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

    def answering(self, selector: str) -> Iterator[Deployment]:
        """Return the deployments that answer to a selector; looked up, not looked through."""
        deployments, labelled = self.deployments, self.records.labelled
        names = set(labelled.get(selector, ()))
        if selector in deployments:
            names.add(selector)
        for name in labelled.get(selector[:MIN_COMMIT_PREFIX], ()):
            if name not in names and deployments[name].answers_to(selector):
                names.add(name)
        return (deployments[name] for name in names)

    @property
    def uses(self) -> Mapping[Version, int]:
        """How many deployments are made of each component version, 1 or more."""
        return self.records.uses

    @property
    def versions(self) -> frozenset[Version]:
        """Every component version that some deployment is made of; counted, not looked for."""
        return frozenset(self.records.uses)

    def manifests_of(self, virtual_environment: str) -> tuple[ReleaseManifest, ...]:
        """Return all manifests of a virtual environment; it looks through those of all."""
        of_all = (entry.record for entry in self.records.manifests.values())
        return tuple(each for each in of_all if each.virtual_environment == virtual_environment)

    def manifest(self, virtual_environment: str, release: str) -> ReleaseManifest | None:
        """Return what a Stable release froze, or None."""
        return self.records.manifest(virtual_environment, release)

    def component(self, app: str, name: str, digest: str) -> ComponentVersion | None:
        """Return a component version, or None."""
        return self.records.component(app, name, digest)


class Transition:
    """The way from one snapshot to the next, in steps between which others may have their turn.

    First it takes changes, then its steps are gone through, then it is finished. Until then
    nobody sees anything of it.

    Args:
        before: Where it begins.
    """

    def __init__(self, before: Snapshot) -> None:
        """Take over nothing yet."""
        self._before = before
        self._writer = before.records.writer()
        self._records = before.records
        self._plain = before.plain

    def take(self, change: Change) -> None:
        """Take a change; in any order, and perhaps one that was seen before."""
        self._writer.write(change)

    def steps(self) -> Iterator[None]:
        """Work the changes off. Each step is short: one key, or one active release."""
        before = self._before
        self._records = self._writer.finish()
        affected: dict[str, None] = {}
        is_touched = False
        for key in self._writer.changed:
            found = before.plain.affected(key, before.records, self._records)
            if found is not None:
                is_touched = True
                affected.update(dict.fromkeys(found))
            yield
        if is_touched:
            update = before.plain.update(self._records)
            for name in affected:
                update.replace(name)
                yield
            self._plain = update.finish()

    def finish(self) -> Snapshot:
        """Return the snapshot after all steps."""
        return Snapshot(self._records, self._plain, self._before.bindings)
