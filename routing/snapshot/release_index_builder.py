"""Builds the next release index: one active release after another, each in short steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from itertools import zip_longest

from kubefox.component import Value
from kubefox.environment import Environment
from kubefox.steps import Steps, Unprepared, in_steps
from routing.language.template import Layers, resolve_value
from routing.snapshot.active_release import ActiveApp, ActiveRelease, Released, active_release
from routing.snapshot.content_rules import ContentResolver
from routing.snapshot.name_groups import GroupsBuilder
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.records import Records
from routing.snapshot.release_index import ReleaseIndex, changed_names
from routing.snapshot.use_counts import UseCounts
from routing.table.index_builder import IndexBuilder
from routing.table.key_trie import KeyTrie

_NO_LAYER: Mapping[str, Value] = {}


class ReleaseIndexBuilder:
    """Builds the next index; the one before stays as it is.

    Args:
        before: The index to start from.
        records: The changed records.
    """

    def __init__(self, before: ReleaseIndex, records: Records) -> None:
        self._contents = ContentResolver(records)
        self._active_releases = before.active_releases.mutate()
        self._incomplete = before.incomplete.mutate()
        self._lacking_values = before.lacking_values.mutate()
        self._scheduled = before.scheduled.mutate()
        self._index = IndexBuilder(self._keys_of, before.root)
        self._dependents = GroupsBuilder(before.dependents)
        self._behind = before.behind.mutate()
        self._uses = UseCounts(before.uses, self._contents.keys)
        self._latest: ActiveRelease | None = None
        self._layers: Layers = ()

    def finish(self) -> ReleaseIndex:
        """Return the index; the builder cannot be used afterwards."""
        return ReleaseIndex(
            active_releases=self._active_releases.finish(),
            incomplete=self._incomplete.finish(),
            lacking_values=self._lacking_values.finish(),
            scheduled=self._scheduled.finish(),
            root=self._index.finish(),
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
        try:
            after = active_release(name, self._contents, before)
        except Unprepared:
            after = yield from in_steps(partial(active_release, name, self._contents, before))
        if before is not None:
            yield from self._replace(name, before, after)
        elif after is not None:
            yield from self._add(name, after)
        yield

    def _add(self, name: str, after: ActiveRelease) -> Steps[None]:
        """Add the active release of a virtual environment that had none.

        At the start of a process these are all releases.
        """
        self._active_releases[name] = after
        for app in after.active_apps:
            try:
                self._index.add(app.released)
            except Unprepared:
                yield from in_steps(partial(self._index.add, app.released))
            self._uses.add(app.content, 1)
        for key in after.depends_on:
            self._dependents.add(key, name)
        self._note(name, after)

    def _replace(
        self, name: str, before: ActiveRelease, after: ActiveRelease | None
    ) -> Steps[None]:
        stale, fresh = _moved(before, after)
        for released in stale:
            yield from in_steps(partial(self._index.remove, released))
        if after is not None:
            self._active_releases[name] = after
        else:
            del self._active_releases[name]
        for released in fresh:
            yield from in_steps(partial(self._index.add, released))
        self._count_uses(before, after)
        self._update_dependents(name, before, after)
        for group in (self._incomplete, self._lacking_values, self._scheduled):
            group.pop(name, None)
        if after is not None:
            self._note(name, after)

    def _keys_of(self, released: Released) -> KeyTrie:
        active = self._active_releases[released.virtual_environment]
        return active.app(released).rules.keys(self._layers_of(active))

    def _layers_of(self, active: ActiveRelease) -> Layers:
        """Return the values of a release; of a release of many apps, they are decoded once."""
        if active is not self._latest:
            self._latest, self._layers = active, active.layers
        return self._layers

    def _count_uses(self, before: ActiveRelease, after: ActiveRelease | None) -> None:
        for app in before.active_apps:
            self._uses.add(app.content, -1)
        for app in after.active_apps if after is not None else ():
            self._uses.add(app.content, 1)

    def _update_dependents(
        self, name: str, before: ActiveRelease, after: ActiveRelease | None
    ) -> None:
        old = before.depends_on
        new = after.depends_on if after is not None else frozenset()
        for key in new - old:
            self._dependents.add(key, name)
        for key in old - new:
            self._dependents.remove(key, name)

    def _note(self, name: str, active: ActiveRelease) -> None:
        """Add a virtual environment to the groups in which ``ReleaseIndex`` lists it."""
        if active.missing:
            self._incomplete[name] = active.missing
        layers = self._layers_of(active)
        for app in active.active_apps:
            if app.rules.lacks_value(layers):
                self._lacking_values[name] = None
            if app.has_schedules:
                self._scheduled[name] = None


def _moved(
    before: ActiveRelease, after: ActiveRelease | None
) -> tuple[list[Released], list[Released]]:
    """Return the apps to remove from the index, and those to add."""
    old = before.apps
    if after is None:
        return _released_except((), old), []
    new = after.apps
    changed = _changed_variables(before, after)
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
        for name in changed_names(old, new)
    }
    return frozenset(
        name for name in names if resolve_value(name, old_layers) != resolve_value(name, new_layers)
    )
