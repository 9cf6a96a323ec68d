"""The index for plain URLs: over the active releases of all virtual environments.

It is brought up to date by what changed, never rebuilt: a change finds the virtual environments it
matters to, and of those only apps whose rules or used values are different move in the index. A
value of an environment matters where a rule uses it and the virtual environment has none itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import zip_longest

from immutables import Map

from model.component import Value
from model.records import kind_of
from routing.active import (
    ActiveApp,
    ActiveRelease,
    Dependency,
    Released,
    active_release,
    component_keys,
)
from routing.facts import Facts
from routing.groups import Names, put_in, take_out
from routing.index import Index, Trie, candidates
from routing.keys import Key
from routing.keytree import NO_KEYS, KeyTree
from routing.records import Records
from routing.template import fill

Dependents = Map[Dependency, Names]
"""Virtual environments by what their active releases depend on."""

_NO_LAYER: Mapping[str, Value] = {}


class PlainIndex:
    """Active releases and where their routes can be found. Never changes.

    Attributes:
        active: Active release of each virtual environment that has one.
        waiting: Of those, the ones that lack a record, with its keys.
        lacking: Of those, the ones that lack a value for a rule.
        ticking: Of those, the ones that have an app with schedules.
    """

    __slots__ = ("_dependents", "_root", "_uses", "active", "lacking", "ticking", "waiting")

    def __init__(
        self,
        active: Map[str, ActiveRelease],
        root: Trie[Released],
        dependents: Dependents,
        uses: Map[str, int],
        waiting: Map[str, tuple[str, ...]],
        lacking: Names,
        ticking: Names,
    ) -> None:
        """Take over the parts."""
        self.active = active
        self.waiting = waiting
        self.lacking = lacking
        self.ticking = ticking
        self._root = root
        self._dependents = dependents
        self._uses = uses

    @staticmethod
    def empty() -> PlainIndex:
        """Return the index of nothing."""
        return PlainIndex(Map(), (), Map(), Map(), Map(), Map(), Map())

    def candidates(self, facts: Facts) -> list[Released]:
        """Return every released app that could have a route for the request, each once."""
        found = candidates(self._root, facts)
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def near(self, key: Key) -> list[Released]:
        """Return every released app that has a rule with this key, and perhaps others."""
        index = Index[Released](lambda _: NO_KEYS, self._root)
        return list(dict.fromkeys(index.near(key)))

    def affected(self, key: str, before: Records, after: Records) -> Iterable[str] | None:
        """Return the virtual environments whose active releases must be put together again.

        Args:
            key: KV key of a record that changed.
            before: All records before the change.
            after: All records after it.

        Returns:
            Names; none of them if only contexts change; None if nothing here is concerned.
        """
        match kind_of(key):
            case "release" | "virtual-environment":
                return (key.partition(".")[2],)
            case "manifest":
                return self._with_manifest(key)
            case "component" if key in self._uses and after.revision_of(key) == 0:
                # Nobody deletes what an active release is made of, so this may be slow.
                return [name for name, each in self.active.items() if _is_part(key, each)]
            case "environment" if key in self._dependents:
                return self._with_environment(key, before, after)
            case _:
                return self._dependents.get(key)

    def update(self, records: Records) -> PlainUpdate:
        """Return what makes the index after ``records`` have changed."""
        return PlainUpdate(
            records,
            self.active,
            self._root,
            self._dependents,
            self._uses,
            self.waiting,
            self.lacking,
            self.ticking,
        )

    def _with_manifest(self, key: str) -> Iterable[str] | None:
        _, name, release = key.split(".", 2)
        active = self.active.get(name)
        return (name,) if active is not None and active.release.manifest == release else None

    def _with_environment(self, key: str, before: Records, after: Records) -> Iterable[str]:
        name = key.partition(".")[2]
        old, new = before.environments.get(name), after.environments.get(name)
        if old is None or new is None:
            return self._dependents[key]
        return dict.fromkeys(
            dependent
            for variable in _changed_names(old.record.data.vars, new.record.data.vars)
            for dependent in self._dependents.get((key, variable), ())
        )


class PlainUpdate:
    """The next index, one active release after another. Made by ``PlainIndex.update``."""

    def __init__(
        self,
        records: Records,
        active: Map[str, ActiveRelease],
        root: Trie[Released],
        dependents: Dependents,
        uses: Map[str, int],
        waiting: Map[str, tuple[str, ...]],
        lacking: Names,
        ticking: Names,
    ) -> None:
        """Begin with the parts of the index of before."""
        self._records = records
        self._active = active.mutate()
        self._index = Index(self._keys_of, root)
        self._dependents = dependents.mutate()
        self._uses = uses.mutate()
        self._waiting = waiting.mutate()
        self._lacking = lacking.mutate()
        self._ticking = ticking.mutate()

    def finish(self) -> PlainIndex:
        """Return the index; nothing may be replaced after that."""
        return PlainIndex(
            self._active.finish(),
            self._index.root,
            self._dependents.finish(),
            self._uses.finish(),
            self._waiting.finish(),
            self._lacking.finish(),
            self._ticking.finish(),
        )

    def replace(self, name: str) -> None:
        """Put the active release of a virtual environment together again."""
        before = self._active.get(name)
        after = active_release(name, self._records, before)
        stale, fresh = _moved(before, after)
        for released in stale:
            self._index = self._index.removed(released)
        if after is not None:
            self._active[name] = after
        elif before is not None:
            del self._active[name]
        for released in fresh:
            self._index = self._index.added(released)
        self._count_uses(before, after)
        self._note_dependents(name, before, after)
        self._note_waiting(name, after)
        self._note_lacking(name, after)
        self._note_ticking(name, after)

    def _keys_of(self, released: Released) -> KeyTree:
        active = self._active[released.virtual_environment]
        return active.apps[released.app].rules.keys(active.layers)

    def _count_uses(self, before: ActiveRelease | None, after: ActiveRelease | None) -> None:
        old, new = _apps(before), _apps(after)
        for app in new:
            if old.get(app) is not new[app]:
                for key in component_keys(new[app].deployment):
                    self._uses[key] = self._uses.get(key, 0) + 1
        for app in old:
            if new.get(app) is not old[app]:
                for key in component_keys(old[app].deployment):
                    self._forget_use(key)

    def _forget_use(self, key: str) -> None:
        if self._uses[key] == 1:
            del self._uses[key]
        else:
            self._uses[key] -= 1

    def _note_dependents(
        self, name: str, before: ActiveRelease | None, after: ActiveRelease | None
    ) -> None:
        old = before.depends_on if before else frozenset()
        new = after.depends_on if after else frozenset()
        for key in new - old:
            put_in(self._dependents, key, name)
        for key in old - new:
            take_out(self._dependents, key, name)

    def _note_waiting(self, name: str, after: ActiveRelease | None) -> None:
        if after is not None and after.missing:
            self._waiting[name] = after.missing
        else:
            self._waiting.pop(name, None)

    def _note_lacking(self, name: str, after: ActiveRelease | None) -> None:
        layers = after.layers if after else ()
        if any(None in app.rules.used(layers) for app in _apps(after).values()):
            self._lacking[name] = None
        else:
            self._lacking.pop(name, None)

    def _note_ticking(self, name: str, after: ActiveRelease | None) -> None:
        if any(app.has_schedules for app in _apps(after).values()):
            self._ticking[name] = None
        else:
            self._ticking.pop(name, None)


def _apps(active: ActiveRelease | None) -> dict[str, ActiveApp]:
    return active.apps if active else {}


def _is_part(component: str, active: ActiveRelease) -> bool:
    return any(component in component_keys(app.deployment) for app in active.apps.values())


def _moved(
    before: ActiveRelease | None, after: ActiveRelease | None
) -> tuple[list[Released], list[Released]]:
    """Return the apps to take out of the index, and those to put in."""
    old, new = _apps(before), _apps(after)
    changed = _changed_variables(before, after) if before and after else frozenset[str]()
    same = {
        app
        for app in old.keys() & new.keys()
        if old[app].rules is new[app].rules and changed.isdisjoint(old[app].rules.variables)
    }
    return _without(same, old), _without(same, new)


def _without(same: Collection[str], apps: Mapping[str, ActiveApp]) -> list[Released]:
    return [each.released for app, each in apps.items() if app not in same]


def _changed_variables(before: ActiveRelease, after: ActiveRelease) -> frozenset[str]:
    names = {
        name
        for old, new in zip_longest(before.layers, after.layers, fillvalue=_NO_LAYER)
        for name in _changed_names(old, new)
    }
    return frozenset(
        name for name in names if fill(name, before.layers) != fill(name, after.layers)
    )


def _changed_names(old: Mapping[str, Value], new: Mapping[str, Value]) -> list[str]:
    """Return the names of variables of one layer that are, or may be, different now."""
    if old is new:
        return []
    return [name for name in old.keys() | new.keys() if _may_differ(old.get(name), new.get(name))]


def _may_differ(old: Value | None, new: Value | None) -> bool:
    # 1 == True, but a rule writes them differently; so do the members of lists.
    return old != new or type(old) is not type(new) or isinstance(old, list)
