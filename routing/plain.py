"""The index for plain URLs: over the active releases of all virtual environments.

It is brought up to date by what changed, never rebuilt: a change finds the virtual environments it
matters to, and of those only apps whose rules or used values are different move in the index.
"""

from __future__ import annotations

from collections.abc import Iterable

from immutables import Map

from model.records import kind_of
from routing.active import ActiveRelease, active_release, component_keys
from routing.facts import Facts
from routing.index import Index, Node, candidates
from routing.keys import Key
from routing.records import Records

Released = tuple[str, str]
"""Virtual environment and app: what the index holds."""

Names = Map[str, None]
"""A persistent set."""


class PlainIndex:
    """Active releases and where their routes can be found. Never changes.

    Attributes:
        active: Active release of each virtual environment that has one.
        waiting: Of those, the ones that lack a record, with its keys.
    """

    __slots__ = ("_dependents", "_root", "_uses", "active", "waiting")

    def __init__(
        self,
        active: Map[str, ActiveRelease],
        root: Node[Released] | None,
        dependents: Map[str, Names],
        uses: Map[str, int],
        waiting: Map[str, tuple[str, ...]],
    ) -> None:
        """Take over the parts."""
        self.active = active
        self.waiting = waiting
        self._root = root
        self._dependents = dependents
        self._uses = uses

    @staticmethod
    def empty() -> PlainIndex:
        """Return the index of nothing."""
        return PlainIndex(Map(), None, Map(), Map(), Map())

    def candidates(self, facts: Facts) -> list[Released]:
        """Return every released app that could have a route for the request, each once."""
        if self._root is None:
            return []
        found = candidates(self._root, facts)
        return found if len(found) < 2 else list(dict.fromkeys(found))

    def near(self, key: Key) -> list[Released]:
        """Return every released app that has a rule with this key, and perhaps others."""
        index = Index[Released](lambda _: (), self._root)
        return list(dict.fromkeys(index.near(key)))

    def updated(self, changed: Iterable[str], records: Records) -> PlainIndex:
        """Return the index after some records changed.

        Args:
            changed: KV keys of those records.
            records: All records after the change.
        """
        affected: dict[str, None] = {}
        for key in changed:
            affected.update(dict.fromkeys(self._affected(key, records)))
        if not affected:
            return self
        update = _Update(self.active, self._root, self._dependents, self._uses, self.waiting)
        for name in affected:
            update.replace(name, active_release(name, records))
        return update.finish()

    def _affected(self, key: str, records: Records) -> Iterable[str]:
        match kind_of(key):
            case "release" | "virtual-environment":
                return (key.partition(".")[2],)
            case "manifest":
                return self._with_manifest(key)
            case "component" if key in self._uses and records.revision_of(key) == 0:
                # Nobody deletes what an active release is made of, so this may be slow.
                return [
                    name for name, each in self.active.items() if key in set(component_keys(each))
                ]
            case _:
                return self._dependents.get(key, ())

    def _with_manifest(self, key: str) -> Iterable[str]:
        _, name, release = key.split(".", 2)
        active = self.active.get(name)
        return (name,) if active is not None and active.release.manifest == release else ()


class _Update:
    def __init__(
        self,
        active: Map[str, ActiveRelease],
        root: Node[Released] | None,
        dependents: Map[str, Names],
        uses: Map[str, int],
        waiting: Map[str, tuple[str, ...]],
    ) -> None:
        self._active = active.mutate()
        self._index = Index(self._keys_of, root)
        self._dependents = dependents.mutate()
        self._uses = uses.mutate()
        self._waiting = waiting.mutate()

    def finish(self) -> PlainIndex:
        return PlainIndex(
            self._active.finish(),
            self._index.root,
            self._dependents.finish(),
            self._uses.finish(),
            self._waiting.finish(),
        )

    def replace(self, name: str, after: ActiveRelease | None) -> None:
        before = self._active.get(name)
        stale, fresh = _moved(before, after)
        for app in stale:
            self._index = self._index.removed((name, app))
        if after is not None:
            self._active[name] = after
        elif before is not None:
            del self._active[name]
        for app in fresh:
            self._index = self._index.added((name, app))
        self._count_uses(before, after)
        self._note_dependents(name, before, after)
        self._note_waiting(name, after)

    def _keys_of(self, released: Released) -> Iterable[Key]:
        name, app = released
        active = self._active[name]
        return active.apps[app].rules.keys(active.layers)

    def _count_uses(self, before: ActiveRelease | None, after: ActiveRelease | None) -> None:
        for key in component_keys(after):
            self._uses[key] = self._uses.get(key, 0) + 1
        for key in component_keys(before):
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
            self._dependents[key] = self._dependents.get(key, Map()).set(name, None)
        for key in old - new:
            left = self._dependents[key].delete(name)
            if left:
                self._dependents[key] = left
            else:
                del self._dependents[key]

    def _note_waiting(self, name: str, after: ActiveRelease | None) -> None:
        if after is not None and after.missing:
            self._waiting[name] = after.missing
        else:
            self._waiting.pop(name, None)


def _moved(
    before: ActiveRelease | None, after: ActiveRelease | None
) -> tuple[list[str], list[str]]:
    """Return the apps to take out of the index, and those to put in."""
    old = before.apps if before else {}
    new = after.apps if after else {}
    same = {
        app for app in old.keys() & new.keys() if before and after and _is_same(app, before, after)
    }
    return [app for app in old if app not in same], [app for app in new if app not in same]


def _is_same(app: str, before: ActiveRelease, after: ActiveRelease) -> bool:
    rules = before.apps[app].rules
    if rules is not after.apps[app].rules:
        return False
    return before.layers == after.layers or rules.used(before.layers) == rules.used(after.layers)
