"""The control plane's records at one revision, as persistent maps.

A change copies one path of a map, which is a few nodes for a map of any size: see
docs/decisions/012-immutables.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, ValuesView
from typing import Any, TypeVar, cast

from immutables import Map, MapMutation

from kubefox.component import ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.records import KINDS, Change
from kubefox.release import ReleaseManifest, ReleaseState
from kubefox.rollout import RolloutState
from kubefox.scaling import ScaleOverride
from kubefox.share import Share
from routing.snapshot.name_groups import GroupsBuilder, Names, NameSet
from routing.snapshot.packed_records import RecordEntry, SharedContent
from routing.snapshot.use_counts import UseCounts

Kind = TypeVar("Kind")

# How many deleted keys keep their revision, so that a replayed older change is ignored. A replay
# follows within seconds, so the older half can be dropped at the bound.
MAX_TOMBSTONES = 10_000


_NOTED = frozenset(("deployment", "rollout", "component"))
"""Kinds of which ``Records`` knows more than the records."""


class RecordMapping(Mapping[str, Kind]):
    """Records of one kind by name."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Map[str, RecordEntry[Kind]]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Kind:
        return self._entries[name].record

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # that of Mapping decodes the record

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> ValuesView[Kind]:
        """Return the records, without a look-up of each name; each is decoded when it is read."""
        return _Values(self)

    def records(self) -> Iterator[Kind]:
        """Return the records one by one."""
        return (entry.record for entry in self._entries.values())


class _Values(ValuesView[Kind]):
    _mapping: RecordMapping[Kind]

    def __iter__(self) -> Iterator[Kind]:
        return self._mapping.records()


class Records:
    """All records at one revision. Never changes; a ``Writer`` makes the next records of it.

    Args:
        kinds: The records of each kind, by name.
        tombstones: KV revision of each deleted key that is remembered.
        max_tombstones: How many deleted keys are remembered at most.
        uses: How many deployments use each component version.
        labelled: Names of deployments by each of their labels; None in a process that only routes.
        rolling: Deployments with a rollout that is rolling.
        revision: The highest KV revision that was applied.
        removals: How often a component version was removed or replaced.

    Attributes:
        version: An object that stands for these records: a cache compares it by identity and does
            not keep the records alive.
    """

    __slots__ = (
        "__weakref__",
        "components",
        "deployments",
        "environments",
        "kinds",
        "labelled",
        "max_tombstones",
        "removals",
        "revision",
        "rolling",
        "tombstones",
        "uses",
        "version",
        "virtual_environments",
    )

    def __init__(
        self,
        *,
        kinds: Mapping[str, Map[str, RecordEntry[Any]]],
        tombstones: Map[str, int],
        max_tombstones: int,
        uses: Map[Version, int],
        labelled: Map[str, Names] | None,
        rolling: NameSet,
        revision: int,
        removals: int,
    ) -> None:
        self.kinds = kinds
        self.tombstones = tombstones
        self.max_tombstones = max_tombstones
        self.uses = uses
        self.labelled = labelled
        self.rolling = rolling
        self.revision = revision
        self.removals = removals
        self.version = object()
        self.deployments: Map[str, RecordEntry[Deployment]] = kinds["deployment"]
        self.environments: Map[str, RecordEntry[Environment]] = kinds["environment"]
        self.virtual_environments: Map[str, RecordEntry[VirtualEnvironment]] = kinds[
            "virtual-environment"
        ]
        self.components: Map[str, RecordEntry[ComponentVersion]] = kinds["component"]

    @staticmethod
    def empty(max_tombstones: int = MAX_TOMBSTONES, *, has_labels: bool = True) -> Records:
        """Return records without content."""
        return Records(
            kinds={kind: Map() for kind in KINDS},
            tombstones=Map(),
            max_tombstones=max_tombstones,
            uses=Map(),
            labelled=Map() if has_labels else None,
            rolling=Map(),
            revision=0,
            removals=0,
        )

    @property
    def http_adapters(self) -> Map[str, RecordEntry[HTTPAdapter]]:
        """HTTP adapters by name."""
        return self.kinds["http-adapter"]

    @property
    def releases(self) -> Map[str, RecordEntry[ReleaseState]]:
        """Releases by virtual environment."""
        return self.kinds["release"]

    @property
    def rollouts(self) -> Map[str, RecordEntry[RolloutState]]:
        """Rollouts by deployment."""
        return self.kinds["rollout"]

    @property
    def scales(self) -> Map[str, RecordEntry[ScaleOverride]]:
        """Overrides by ``<app>.<component>`` or ``<app>.<component>.<deployment>``."""
        return self.kinds["scale"]

    @property
    def shares(self) -> Map[str, RecordEntry[Share]]:
        """Shares by name."""
        return self.kinds["share"]

    def manifest(self, virtual_environment: str, release: str) -> ReleaseManifest | None:
        """Return a manifest, or None."""
        entry = self.kinds["manifest"].get(f"{virtual_environment}.{release}")
        return None if entry is None else cast("ReleaseManifest", entry.record)

    @property
    def manifests(self) -> Map[str, RecordEntry[ReleaseManifest]]:
        """Manifests by ``<virtual environment>.<id of the release>``."""
        return self.kinds["manifest"]

    def component(self, app: str, name: str, digest: str) -> ComponentVersion | None:
        """Return a component version, or None."""
        entry = self.components.get(f"{app}.{name}.{digest}")
        return None if entry is None else entry.record

    def revision_of(self, key: str) -> int:
        """Return the KV revision of the record under a key, 0 if there is none."""
        kind, name = _split(key)
        entry = self.kinds[kind].get(name) if kind in self.kinds else None
        return 0 if entry is None else entry.revision

    def renewed(self) -> Records:
        """Return the same records with another ``version``: caches look at them again."""
        return self.writer().finish()

    def writer(self) -> Writer:
        """Return a writer that starts with these records."""
        return Writer(self)


class Writer:
    """Applies changes to records; each change has a constant cost. Made by ``Records.writer``.

    Attributes:
        changed: KV keys of the records that changed, some perhaps twice.
    """

    def __init__(self, before: Records) -> None:
        self._before = before
        self._open: dict[str, MapMutation[str, RecordEntry[Any]]] = {}
        self._tombstones = before.tombstones.mutate()
        self._uses = UseCounts(before.uses, _versions)
        self._labelled = None if before.labelled is None else GroupsBuilder(before.labelled)
        self._rolling = before.rolling.mutate()
        self._revision = before.revision
        self._removals = before.removals
        self.changed: list[str] = []

    def write(self, change: Change) -> None:
        """Apply a change.

        A change that is not newer than the record of its key is ignored, so a watcher that starts
        again may replay old changes.
        """
        key, revision, record = change.key, change.revision, change.record
        if revision > self._revision:
            self._revision = revision
        kind, _, name = key.partition(".")
        entries = self._open.get(kind) or self._open_kind(kind)
        if entries is None:
            return
        before = entries.get(name)
        known = self._tombstones.get(key, 0) if before is None else before.revision
        if revision <= known:
            return
        if record is None:
            after = None
            entries.pop(name, None)
            self._tombstones[key] = revision
        else:
            after = entries[name] = RecordEntry.of(kind, record, revision)
            if before is None and known:
                del self._tombstones[key]
        if kind in _NOTED:
            self._note(kind, name, before, after)
        self.changed.append(key)

    def restore(self, kind: str, found: Mapping[str, RecordEntry[Any]]) -> None:
        """Add records of a kind that are not there yet, from a checkpoint."""
        entries = self._open_kind(kind)
        if entries is None:
            return
        entries.update(found)
        self._revision = max(self._revision, *[entry.revision for entry in found.values()])
        if kind in _NOTED:
            for name, entry in found.items():
                self._note(kind, name, None, entry)

    def _note(
        self,
        kind: str,
        name: str,
        before: RecordEntry[Any] | None,
        after: RecordEntry[Any] | None,
    ) -> None:
        """Update what is known about all records of a kind."""
        if kind == "deployment":
            if before is not None:
                self._uses.add(before.shared, -1)
            if after is not None:
                self._uses.add(after.shared, 1)
            if self._labelled is not None:
                _label(self._labelled, name, before, after)
        elif kind == "rollout":
            self._note_rolling(name, None if after is None else after.record)
        elif kind == "component" and before is not None:
            self._removals += 1

    def finish(self) -> Records:
        """Return the new records; the writer cannot be used afterwards."""
        before = self._before
        opened = {kind: entries.finish() for kind, entries in self._open.items()}
        return Records(
            kinds={**before.kinds, **opened},
            tombstones=_bounded(self._tombstones.finish(), before.max_tombstones),
            max_tombstones=before.max_tombstones,
            uses=self._uses.finish(),
            labelled=None if self._labelled is None else self._labelled.finish(),
            rolling=self._rolling.finish(),
            revision=self._revision,
            removals=self._removals,
        )

    def _open_kind(self, kind: str) -> MapMutation[str, RecordEntry[Any]] | None:
        """Return the records of a kind, to be changed; None for a kind that is not known."""
        if kind not in self._open and kind in self._before.kinds:
            self._open[kind] = self._before.kinds[kind].mutate()
        return self._open.get(kind)

    def _note_rolling(self, name: str, state: RolloutState | None) -> None:
        if state is not None and state.rolling is not None:
            self._rolling[name] = None
        else:
            self._rolling.pop(name, None)


def _versions(content: SharedContent) -> list[Version]:
    return [Version(content.app, name, digest) for name, digest in content.components.items()]


def _label(
    labelled: GroupsBuilder[str],
    name: str,
    before: RecordEntry[Deployment] | None,
    after: RecordEntry[Deployment] | None,
) -> None:
    """Replace the labels of a deployment."""
    for text in before.labels if before else ():
        labelled.remove(text, name)
    for text in after.labels if after else ():
        labelled.add(text, name)


def _split(key: str) -> tuple[str, str]:
    kind, _, name = key.partition(".")
    return kind, name


def _bounded(tombstones: Map[str, int], limit: int) -> Map[str, int]:
    if len(tombstones) <= limit:
        return tombstones
    newest = sorted(tombstones.items(), key=lambda item: item[1])[limit // 2 :]
    return Map(newest)
