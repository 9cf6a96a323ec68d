"""The release index: the active releases of all virtual environments, to find plain URLs.

The index is updated by each change and never rebuilt. A change affects some virtual environments,
and of those, only the apps whose rules or used values differ move in the index. A variable of an
environment matters only if a rule uses it and the virtual environment does not set it itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from immutables import Map

from kubefox.component import Value
from kubefox.environment import Environment
from kubefox.records import kind_of
from routing.language.facts import Facts
from routing.language.index_keys import IndexKey
from routing.snapshot.active_release import (
    ActiveRelease,
    DependencyKey,
    Released,
)
from routing.snapshot.content_rules import component_keys
from routing.snapshot.name_groups import Names, NameSet
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.records import Records
from routing.table.index import Trie, candidates, candidates_for_key

Dependents = Map[DependencyKey, Names]
"""Virtual environments by the records and variables that their active releases depend on."""
Behind = Map[str, RecordEntry[Environment]]
"""Names of virtual environments with the record that their active releases follow."""

_NO_LAYER: Mapping[str, Value] = {}


class ReleaseIndex:
    """Active releases and the index over their routes. Never changes.

    Attributes:
        active_releases: Active release of each virtual environment that has one.
        incomplete: Virtual environments whose active release lacks records, with the records' keys.
        lacking_values: Virtual environments whose active release lacks a value for a rule.
        scheduled: Virtual environments whose active release has an app with schedules.
        root: Root of the trie over the released apps.
        dependents: Virtual environments by the dependencies of their active releases.
        behind: Virtual environments whose active release follows an earlier record of their
            environment, with that record; see ``SnapshotBuilder``.
        uses: How many released apps use each component version, by its KV key.
    """

    __slots__ = (
        "active_releases",
        "behind",
        "dependents",
        "incomplete",
        "lacking_values",
        "root",
        "scheduled",
        "uses",
    )

    def __init__(
        self,
        *,
        active_releases: Map[str, ActiveRelease],
        incomplete: Map[str, tuple[str, ...]],
        lacking_values: NameSet,
        scheduled: NameSet,
        root: Trie[Released],
        dependents: Dependents,
        behind: Behind,
        uses: Map[str, int],
    ) -> None:
        self.active_releases = active_releases
        self.incomplete = incomplete
        self.lacking_values = lacking_values
        self.scheduled = scheduled
        self.root = root
        self.dependents = dependents
        self.behind = behind
        self.uses = uses

    @staticmethod
    def empty() -> ReleaseIndex:
        """Return an index without releases."""
        return ReleaseIndex(
            active_releases=Map(),
            incomplete=Map(),
            lacking_values=Map(),
            scheduled=Map(),
            root=(),
            dependents=Map(),
            behind=Map(),
            uses=Map(),
        )

    def environment_of(self, name: str, records: Records) -> RecordEntry[Environment] | None:
        """Return the environment that the active release of a virtual environment follows.

        Args:
            name: Name of a virtual environment with an active release.
            records: The records of the same snapshot.

        Returns:
            The environment; None if the release has a manifest.
        """
        return self.behind.get(name) or self.active_releases[name].live_environment(records)

    def candidates(self, facts: Facts) -> list[Released]:
        """Return every released app that could have a route for the request, without repetition."""
        found = candidates(self.root, facts)
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def candidates_for_key(self, key: IndexKey) -> list[Released]:
        """Return every released app that has a rule with this key, and perhaps others."""
        return list(dict.fromkeys(candidates_for_key(self.root, key)))

    def affected(self, key: str, before: Records, after: Records) -> Collection[str] | None:
        """Return the virtual environments whose active release a change makes out of date.

        Args:
            key: KV key of the changed record.
            before: All records before the change.
            after: All records after it.

        Returns:
            NameSet; no names if only contexts change; None if the change does not matter here.
        """
        match kind_of(key):
            case "release" | "virtual-environment":
                return (key.partition(".")[2],)
            case "manifest":
                return self._with_manifest(key)
            case "component" if key in self.uses and after.revision_of(key) == 0:
                # A used component version is hardly ever deleted, so a search is fast enough.
                releases = self.active_releases.items()
                return [name for name, active in releases if _uses_component(active, key)]
            case "environment" if key in self.dependents:
                return self._with_environment(key, before, after)
            case _:
                return self.dependents.get(key)

    def _with_manifest(self, key: str) -> Collection[str] | None:
        _, name, release = key.split(".", 2)
        active = self.active_releases.get(name)
        return (name,) if active is not None and active.release.manifest == release else None

    def _with_environment(self, key: str, before: Records, after: Records) -> Collection[str]:
        name = key.partition(".")[2]
        old, new = before.environments.get(name), after.environments.get(name)
        if old is None or new is None:
            return self.dependents[key]
        return dict.fromkeys(
            dependent
            for variable in changed_names(old.record.data.vars, new.record.data.vars)
            for dependent in self.dependents.get((key, variable), ())
        )


def _uses_component(active: ActiveRelease, key: str) -> bool:
    return any(key in component_keys(app.content) for app in active.active_apps)


def changed_names(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Return the names of the variables that differ, or may differ, between two layers."""
    if old is new:
        return []
    return [name for name in old.keys() | new.keys() if _may_differ(old.get(name), new.get(name))]


def _may_differ(old: Value | None, new: Value | None) -> bool:
    # 1 == True, but a rule writes them differently. The same holds for the members of lists.
    return old != new or type(old) is not type(new) or isinstance(old, list)
