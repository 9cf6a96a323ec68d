"""The control plane's records at one moment, as persistent maps.

A change copies one path of a map, a few nodes, whatever the map's size: see
docs/decisions/012-immutables.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import Any, Generic, TypeVar, cast

from immutables import Map, MapMutation

from model.component import ComponentVersion
from model.deployment import Deployment
from model.distill import Version
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.records import KINDS, Change
from model.release import ReleaseManifest, ReleaseState
from routing.groups import Names, put_in, take_out
from routing.sharing import Shared

Kind = TypeVar("Kind")

# Deleted keys whose revision is remembered, so that a replayed older change stays ignored. Replays
# come within moments, so forgetting the older half at the bound is safe.
MAX_TOMBSTONES = 10_000


class Entry(Generic[Kind]):
    """A record and the KV revision that wrote it. The same object until it changes."""

    __slots__ = ("record", "revision")

    def __init__(self, record: Kind, revision: int) -> None:
        """Keep both."""
        self.record = record
        self.revision = revision


class View(Mapping[str, Kind]):
    """Records of one kind by name."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Map[str, Entry[Kind]]) -> None:
        """Look at the entries of one kind."""
        self._entries = entries

    def __getitem__(self, name: str) -> Kind:
        """Return the record of a name."""
        return self._entries[name].record

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._entries)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._entries)

    def values(self) -> ValuesView[Kind]:
        """Return the records, without looking each up by its name."""
        return _Values(self)

    def records(self) -> Iterator[Kind]:
        """Return the records one by one."""
        return (entry.record for entry in self._entries.values())


class _Values(ValuesView[Kind]):
    _mapping: View[Kind]

    def __iter__(self) -> Iterator[Kind]:
        return self._mapping.records()


class Records:
    """All records at one moment. Never changes; a ``Writer`` makes others of it.

    Attributes:
        revision: The highest KV revision that was applied.
        uses: How many deployments are made of each component version.
        labelled: Names of deployments by each of their labels.
        moment: Stands for these very records, for who must not keep them alive.
        removals: How often a component version was taken away or replaced.
    """

    __slots__ = (
        "__weakref__",
        "_kinds",
        "_shared",
        "_tombstones",
        "components",
        "deployments",
        "environments",
        "labelled",
        "moment",
        "removals",
        "revision",
        "uses",
        "virtual_environments",
    )

    def __init__(
        self,
        kinds: Mapping[str, Map[str, Entry[Any]]],
        tombstones: Map[str, int],
        uses: Map[Version, int],
        labelled: Map[str, Names],
        shared: Shared,
        *,
        revision: int,
        removals: int,
    ) -> None:
        """Take over the maps."""
        self._kinds = kinds
        self._tombstones = tombstones
        self._shared = shared
        self.uses = uses
        self.labelled = labelled
        self.revision = revision
        self.removals = removals
        self.moment = object()
        self.deployments: Map[str, Entry[Deployment]] = kinds["deployment"]
        self.environments: Map[str, Entry[Environment]] = kinds["environment"]
        self.virtual_environments: Map[str, Entry[VirtualEnvironment]] = kinds[
            "virtual-environment"
        ]
        self.components: Map[str, Entry[ComponentVersion]] = kinds["component"]

    @staticmethod
    def empty() -> Records:
        """Return no records."""
        kinds: dict[str, Map[str, Entry[Any]]] = {kind: Map() for kind in KINDS}
        return Records(kinds, Map(), Map(), Map(), Shared(), revision=0, removals=0)

    @property
    def http_adapters(self) -> Map[str, Entry[HTTPAdapter]]:
        """HTTP adapters by name."""
        return self._kinds["http-adapter"]

    @property
    def releases(self) -> Map[str, Entry[ReleaseState]]:
        """Releases by virtual environment."""
        return self._kinds["release"]

    def manifest(self, virtual_environment: str, release: str) -> ReleaseManifest | None:
        """Return a manifest, or None."""
        entry = self._kinds["manifest"].get(f"{virtual_environment}.{release}")
        return None if entry is None else cast("ReleaseManifest", entry.record)

    @property
    def manifests(self) -> Map[str, Entry[ReleaseManifest]]:
        """Manifests by ``<virtual environment>.<id of the release>``."""
        return self._kinds["manifest"]

    def component(self, app: str, name: str, digest: str) -> ComponentVersion | None:
        """Return a component version, or None."""
        entry = self.components.get(f"{app}.{name}.{digest}")
        return None if entry is None else entry.record

    def revision_of(self, key: str) -> int:
        """Return the KV revision of the record under a key, 0 if there is none."""
        kind, name = _split(key)
        entry = self._kinds[kind].get(name) if kind in self._kinds else None
        return 0 if entry is None else entry.revision

    def writer(self) -> Writer:
        """Return what makes these records with some changes."""
        return Writer(
            self._kinds,
            self._tombstones,
            self.uses,
            self.labelled,
            self._shared,
            revision=self.revision,
            removals=self.removals,
        )


class Writer:
    """Takes changes, any number of them at the price of each. Made by ``Records.writer``.

    Attributes:
        changed: KV keys of the records that really changed, perhaps some twice.
    """

    def __init__(
        self,
        kinds: Mapping[str, Map[str, Entry[Any]]],
        tombstones: Map[str, int],
        uses: Map[Version, int],
        labelled: Map[str, Names],
        shared: Shared,
        *,
        revision: int,
        removals: int,
    ) -> None:
        """Begin with the maps of the records of before."""
        self._kinds = kinds
        self._open: dict[str, MapMutation[str, Entry[Any]]] = {}
        self._tombstones = tombstones.mutate()
        self._uses = uses.mutate()
        self._labelled = labelled.mutate()
        self._shared = shared
        self._revision = revision
        self._removals = removals
        self.changed: list[str] = []

    def write(self, change: Change) -> None:
        """Take a change.

        One that is not newer than what is known of its key is ignored, so a watcher that begins
        again may replay whatever it likes.
        """
        self._revision = max(self._revision, change.revision)
        kind, name = _split(change.key)
        if kind not in self._kinds:
            return
        entries = self._entries(kind)
        before = entries.get(name)
        known = self._tombstones.get(change.key, 0) if before is None else before.revision
        if change.revision <= known:
            return
        if kind == "deployment":
            self._note_deployment(
                None if before is None else before.record, cast("Deployment | None", change.record)
            )
        if kind == "component" and before is not None:
            self._removals += 1
        if change.record is None:
            entries.pop(name, None)
            self._tombstones[change.key] = change.revision
        else:
            entries[name] = Entry(self._shared.record(change.record), change.revision)
            self._tombstones.pop(change.key, None)
        self.changed.append(change.key)

    def finish(self) -> Records:
        """Return the records; nothing may be written after that."""
        opened = {kind: entries.finish() for kind, entries in self._open.items()}
        return Records(
            {**self._kinds, **opened},
            _bounded(self._tombstones.finish()),
            self._uses.finish(),
            self._labelled.finish(),
            self._shared,
            revision=self._revision,
            removals=self._removals,
        )

    def _entries(self, kind: str) -> MapMutation[str, Entry[Any]]:
        entries = self._open.get(kind)
        if entries is None:
            entries = self._open[kind] = self._kinds[kind].mutate()
        return entries

    def _note_deployment(self, before: Deployment | None, after: Deployment | None) -> None:
        if before is not None:
            self._count_uses(before, -1)
            for label in before.labels:
                take_out(self._labelled, label, before.name)
        if after is not None:
            self._count_uses(after, 1)
            for label in after.labels:
                put_in(self._labelled, label, after.name)

    def _count_uses(self, deployment: Deployment, step: int) -> None:
        for component, digest in deployment.components.items():
            version = Version(deployment.app, component, digest)
            count = self._uses.get(version, 0) + step
            if count:
                self._uses[version] = count
            else:
                del self._uses[version]


def _split(key: str) -> tuple[str, str]:
    kind, _, name = key.partition(".")
    return kind, name


def _bounded(tombstones: Map[str, int]) -> Map[str, int]:
    if len(tombstones) <= MAX_TOMBSTONES:
        return tombstones
    newest = sorted(tombstones.items(), key=lambda item: item[1])[MAX_TOMBSTONES // 2 :]
    return Map(newest)
