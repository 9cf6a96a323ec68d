"""The release index: the active releases of all virtual environments, to find plain URLs.

The index is updated by each change and never rebuilt. A change affects some virtual environments,
and of those, only the apps whose rules or used values differ move in the index. A variable of an
environment matters only if a rule uses it and the virtual environment does not set it itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from itertools import zip_longest

from immutables import Map

from kubefox.component import Value
from kubefox.environment import Environment
from kubefox.records import kind_of
from kubefox.steps import Steps, in_steps
from routing.language.facts import Facts
from routing.language.index_keys import IndexKey
from routing.language.template import Layers, resolve_value
from routing.snapshot.active_release import (
    ActiveApp,
    ActiveRelease,
    DependencyKey,
    Released,
    active_release,
)
from routing.snapshot.content_rules import ContentResolver, component_keys
from routing.snapshot.name_groups import Names, NameSet, add_name, remove_name
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.records import Records
from routing.table.index import Index, Trie, candidates
from routing.table.key_trie import NO_KEYS, KeyTrie
from routing.table.rule_set import RuleSet

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
        index = Index[Released](lambda _: NO_KEYS, self.root)
        return list(dict.fromkeys(index.candidates_for_key(key)))

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

    def update(self, records: Records) -> ReleaseIndexBuilder:
        """Return the builder of the index for changed ``records``."""
        return ReleaseIndexBuilder(self, records)

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
            for variable in _changed_names(old.record.data.vars, new.record.data.vars)
            for dependent in self.dependents.get((key, variable), ())
        )


class ReleaseIndexBuilder:
    """Builds the next index, one active release at a time. Made by ``ReleaseIndex.update``."""

    def __init__(self, before: ReleaseIndex, records: Records) -> None:
        self._contents = ContentResolver(records)
        self._active_releases = before.active_releases.mutate()
        self._incomplete = before.incomplete.mutate()
        self._lacking_values = before.lacking_values.mutate()
        self._scheduled = before.scheduled.mutate()
        self._index = Index(self._keys_of, before.root)
        self._dependents = before.dependents.mutate()
        self._behind = before.behind.mutate()
        self._uses = before.uses.mutate()
        self._latest: ActiveRelease | None = None
        self._rules: Mapping[Released, RuleSet] = {}
        self._layers: Layers = ()

    def finish(self) -> ReleaseIndex:
        """Return the index; the builder cannot be used afterwards."""
        return ReleaseIndex(
            active_releases=self._active_releases.finish(),
            incomplete=self._incomplete.finish(),
            lacking_values=self._lacking_values.finish(),
            scheduled=self._scheduled.finish(),
            root=self._index.root,
            dependents=self._dependents.finish(),
            behind=self._behind.finish(),
            uses=self._uses.finish(),
        )

    def leave_behind(self, name: str, environment: RecordEntry[Environment]) -> None:
        """Let an active release follow this earlier record of its environment until ``refresh``."""
        if name not in self._behind:
            self._behind[name] = environment

    def refresh(self, name: str) -> Steps[None]:
        """Replace the active release of a virtual environment by one made of the new records."""
        self._behind.pop(name, None)
        before = self._active_releases.get(name)
        after = yield from in_steps(lambda: active_release(name, self._contents, before))
        stale, fresh = _moved(before, after)
        for released in stale:
            self._index = yield from in_steps(partial(self._index.removed, released))
        if after is not None:
            self._active_releases[name] = after
        elif before is not None:
            del self._active_releases[name]
        for released in fresh:
            self._index = yield from in_steps(partial(self._index.added, released))
        self._count_uses(before, after)
        self._update_dependents(name, before, after)
        self._update_groups(name, after)
        yield

    def _keys_of(self, released: Released) -> KeyTrie:
        active = self._active_releases[released.virtual_environment]
        if active is not self._latest:
            # A release of many apps decodes its values once.
            self._latest, self._rules, self._layers = active, active.rules, active.layers
        return self._rules[released].keys(self._layers)

    def _count_uses(self, before: ActiveRelease | None, after: ActiveRelease | None) -> None:
        old, new = _apps(before), _apps(after)
        for app in new:
            if old.get(app) is not new[app]:
                for key in self._contents.keys(new[app].content):
                    self._uses[key] = self._uses.get(key, 0) + 1
        for app in old:
            if new.get(app) is not old[app]:
                for key in self._contents.keys(old[app].content):
                    self._remove_use(key)

    def _remove_use(self, key: str) -> None:
        if self._uses[key] == 1:
            del self._uses[key]
        else:
            self._uses[key] -= 1

    def _update_dependents(
        self, name: str, before: ActiveRelease | None, after: ActiveRelease | None
    ) -> None:
        old = before.depends_on if before else frozenset()
        new = after.depends_on if after else frozenset()
        for key in new - old:
            add_name(self._dependents, key, name)
        for key in old - new:
            remove_name(self._dependents, key, name)

    def _update_groups(self, name: str, after: ActiveRelease | None) -> None:
        """Update the groups in which ``ReleaseIndex`` lists a virtual environment."""
        apps, layers = (after.active_apps, after.layers) if after else ((), ())
        if after is not None and after.missing:
            self._incomplete[name] = after.missing
        else:
            self._incomplete.pop(name, None)
        if any(None in app.rules.values(layers) for app in apps):
            self._lacking_values[name] = None
        else:
            self._lacking_values.pop(name, None)
        if any(app.has_schedules for app in apps):
            self._scheduled[name] = None
        else:
            self._scheduled.pop(name, None)


def _apps(active: ActiveRelease | None) -> dict[str, ActiveApp]:
    return active.apps if active else {}


def _uses_component(active: ActiveRelease, key: str) -> bool:
    return any(key in component_keys(app.content) for app in active.active_apps)


def _moved(
    before: ActiveRelease | None, after: ActiveRelease | None
) -> tuple[list[Released], list[Released]]:
    """Return the apps to remove from the index, and those to add."""
    if before is None:
        return [], [app.released for app in after.active_apps] if after else []
    old, new = _apps(before), _apps(after)
    changed = _changed_variables(before, after) if after else frozenset[str]()
    same = {
        app
        for app in old.keys() & new.keys()
        if old[app].rules is new[app].rules and changed.isdisjoint(old[app].rules.variables)
    }
    return _released_except(same, old), _released_except(same, new)


def _released_except(names: Collection[str], apps: Mapping[str, ActiveApp]) -> list[Released]:
    return [app.released for name, app in apps.items() if name not in names]


def _changed_variables(before: ActiveRelease, after: ActiveRelease) -> frozenset[str]:
    old_layers, new_layers = before.layers, after.layers
    names = {
        name
        for old, new in zip_longest(old_layers, new_layers, fillvalue=_NO_LAYER)
        for name in _changed_names(old, new)
    }
    return frozenset(
        name for name in names if resolve_value(name, old_layers) != resolve_value(name, new_layers)
    )


def _changed_names(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Return the names of the variables that differ, or may differ, between two layers."""
    if old is new:
        return []
    return [name for name in old.keys() | new.keys() if _may_differ(old.get(name), new.get(name))]


def _may_differ(old: Value | None, new: Value | None) -> bool:
    # 1 == True, but a rule writes them differently. The same holds for the members of lists.
    return old != new or type(old) is not type(new) or isinstance(old, list)
