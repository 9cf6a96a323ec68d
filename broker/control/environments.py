"""Environments, virtual environments and HTTP adapters: created, replaced, deleted when unused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from broker.control.environment_checks import object_problems
from broker.control.outages import live_releases, outages_by_values
from broker.control.secrets import EnvironmentObject, masked, unmasked
from broker.control.turn import Turn, in_turn
from broker.control.writes import Stored, check_match, load
from broker.store import Store
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.errors import EnvironmentNotFound, Immutable, NotFound, Problem, ProblemsFound
from model.names import check_name
from model.records import (
    environment_key,
    http_adapter_key,
    manifest_key,
    release_key,
    virtual_environment_key,
)
from routing.snapshot import Snapshot

Kind = type[Environment] | type[VirtualEnvironment] | type[HTTPAdapter]

_NOUNS: dict[Kind, str] = {
    Environment: "environment",
    VirtualEnvironment: "virtual environment",
    HTTPAdapter: "HTTP adapter",
}
_KEYS: dict[Kind, Callable[[str], str]] = {
    Environment: environment_key,
    VirtualEnvironment: virtual_environment_key,
    HTTPAdapter: http_adapter_key,
}


class Environments:
    """Writes environments, virtual environments and HTTP adapters. Answers hide secrets.

    Args:
        store: The control plane's data.
        turn: Of this process.
    """

    def __init__(self, store: Store, *, turn: Turn) -> None:
        """Put the parts together; nothing is opened or closed."""
        self._store = store
        self._turn = turn

    def all(self, kind: Kind) -> tuple[Stored[EnvironmentObject], ...]:
        """Return every object of a kind, by name."""
        return tuple(self.get(kind, name) for name in sorted(_objects(self._store.snapshot, kind)))

    def get(self, kind: Kind, name: str) -> Stored[EnvironmentObject]:
        """Return one object.

        Raises:
            NotFound: There is none of this name.
        """
        snapshot = self._store.snapshot
        found = _objects(snapshot, kind).get(name)
        if found is None:
            raise _not_found(kind, name)
        return _shown(Stored(revision=snapshot.revision_of(_KEYS[kind](name)), object=found))

    @in_turn
    async def put(
        self, record: EnvironmentObject, if_match: int | None = None, *, force: bool = False
    ) -> Stored[EnvironmentObject]:
        """Create or replace an object.

        Args:
            record: New content; a masked secret keeps the value that is stored.
            if_match: What the writer has seen, see ``check_match``.
            force: Write it even if an active release cannot be used any more then.

        Raises:
            InvalidRequest: The name is not valid.
            Immutable: It would move a virtual environment to another environment.
            ProblemsFound: Values, policy or references are not valid, or an active release of
                policy Testing, which is served by live values, could not be used with them.
            RevisionConflict: Somebody else wrote meanwhile.
        """
        kind = type(record)
        check_name(record.name, _NOUNS[kind])
        key = _KEYS[kind](record.name)
        found = await load(self._store, key, kind)
        check_match(key, found, if_match)
        stored = found.object if found else None
        _check_fixed(record, stored)
        problems = tuple(object_problems(record, self._store.snapshot.environments))
        if problems:
            raise ProblemsFound(f"{_NOUNS[kind]} {record.name} is not valid", problems)
        if not force:
            await self._check_releases(record)
        return _shown(await self._turn.write(key, unmasked(record, stored), found))

    @in_turn
    async def delete(
        self, kind: Kind, name: str, if_match: int | None = None, *, force: bool = False
    ) -> None:
        """Delete an object.

        Args:
            kind: Which kind of object.
            name: Its name.
            if_match: What the writer has seen, see ``check_match``.
            force: Delete a virtual environment with its releases.

        Raises:
            NotFound: There is none of this name.
            Immutable: It is in use.
            RevisionConflict: Somebody else wrote meanwhile.
        """
        key = _KEYS[kind](name)
        found = await load(self._store, key, kind)
        if found is None:
            raise _not_found(kind, name)
        check_match(key, found, if_match)
        _check_unused(kind, name, self._store.snapshot, force=force)
        if kind is VirtualEnvironment:
            await self._delete_releases(name)
        await self._turn.delete(key)

    async def _check_releases(self, record: EnvironmentObject) -> None:
        snapshot = self._store.snapshot
        problems: list[Problem] = []
        for virtual, release in live_releases(record, snapshot):
            problems += outages_by_values(record, virtual, release, snapshot)
            # There may be many, and the rules of each are compiled: others have their turn.
            await asyncio.sleep(0)
        if problems:
            raise ProblemsFound(
                f"{_NOUNS[type(record)]} {record.name} would take what is released off plain URLs: "
                "force writes it all the same",
                tuple(problems),
            )

    async def _delete_releases(self, name: str) -> None:
        snapshot = self._store.snapshot
        if name in snapshot.releases:
            await self._turn.delete(release_key(name))
        for manifest in snapshot.manifests_of(name):
            await self._turn.delete(manifest_key(name, manifest.id))


def _objects(snapshot: Snapshot, kind: Kind) -> Mapping[str, EnvironmentObject]:
    if kind is Environment:
        return snapshot.environments
    if kind is VirtualEnvironment:
        return snapshot.virtual_environments
    return snapshot.http_adapters


def _shown(stored: Stored[EnvironmentObject]) -> Stored[EnvironmentObject]:
    return Stored(revision=stored.revision, object=masked(stored.object))


def _not_found(kind: Kind, name: str) -> NotFound:
    error = NotFound if kind is HTTPAdapter else EnvironmentNotFound
    return error(f"there is no {_NOUNS[kind]} {name}")


def _check_fixed(record: EnvironmentObject, stored: EnvironmentObject | None) -> None:
    if (
        isinstance(record, VirtualEnvironment)
        and isinstance(stored, VirtualEnvironment)
        and record.environment != stored.environment
    ):
        raise Immutable(
            f"virtual environment {record.name} lies over environment {stored.environment} "
            f"and cannot move to {record.environment}"
        )


def _check_unused(kind: Kind, name: str, snapshot: Snapshot, *, force: bool) -> None:
    if kind is Environment:
        users = [
            each.name for each in snapshot.virtual_environments.values() if each.environment == name
        ]
        if users:
            raise Immutable(
                f"environment {name} lies under virtual environment {', '.join(sorted(users))}"
            )
    state = snapshot.releases.get(name) if kind is VirtualEnvironment else None
    if state is not None and (state.active or state.pending) and not force:
        raise Immutable(f"virtual environment {name} has a release: force deletes both")
