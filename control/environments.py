"""Environments, virtual environments and HTTP adapters: created, replaced, deleted when unused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

from broker.runtime.cooperative import run_in_slices
from broker.storage.store import Store
from control.breaking_changes import ValueCheck
from control.environment_checks import object_problems
from control.listed_names import listed
from control.secret_masks import EnvironmentObject, masked, unmasked
from control.stored_record import StoredRecord, check_match, load
from control.transactions import OptimisticTransaction, in_transaction
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.errors import EnvironmentNotFound, Immutable, InUse, NotFound, ProblemsFound
from kubefox.names import check_name
from kubefox.records import (
    environment_key,
    http_adapter_key,
    manifest_key,
    release_key,
    virtual_environment_key,
)
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex

ObjectKind = type[Environment] | type[VirtualEnvironment] | type[HTTPAdapter]

_NOUNS: dict[ObjectKind, str] = {
    Environment: "environment",
    VirtualEnvironment: "virtual environment",
    HTTPAdapter: "HTTP adapter",
}
_KEYS: dict[ObjectKind, Callable[[str], str]] = {
    Environment: environment_key,
    VirtualEnvironment: virtual_environment_key,
    HTTPAdapter: http_adapter_key,
}


class Environments:
    """Writes environments, virtual environments and HTTP adapters. Results have masked secrets.

    Args:
        store: The control plane's data.
        transaction: The transaction of this process.
    """

    def __init__(self, store: Store, *, transaction: OptimisticTransaction) -> None:
        self._store = store
        self._transaction = transaction

    def get(self, kind: ObjectKind, name: str) -> StoredRecord[EnvironmentObject]:
        """Return one object.

        Raises:
            NotFound: The object does not exist.
        """
        snapshot = self._store.snapshot
        found = _objects(snapshot, kind).get(name)
        if found is None:
            raise _not_found(kind, name)
        return _masked(StoredRecord(revision=snapshot.revision_of(_KEYS[kind](name)), object=found))

    async def put(
        self, record: EnvironmentObject, if_match: int | None = None, *, force: bool = False
    ) -> StoredRecord[EnvironmentObject]:
        """Create or replace an object.

        Args:
            record: New content. A masked secret keeps its stored value.
            if_match: Revision that the writer expects, see ``check_match``.
            force: Write the object even if that breaks an active release.

        Raises:
            InvalidRequest: The name is not valid.
            Immutable: A virtual environment would get another environment.
            ProblemsFound: Values, policy or references are not valid, or they would break an active
                release of policy Testing, which uses live values.
            RevisionConflict: The object has another revision.
        """
        if force:
            stored = await self._put(record, if_match, None)
        else:
            async with aclosing(ValueCheck(record, self._store)) as check:
                # Other writes need not wait for a check of many releases.
                await check.problems()
                stored = await self._put(record, if_match, check)
        if isinstance(record, Environment):
            # Nor until many releases follow the new values.
            await self._store.wait_routed(record.name)
        return stored

    @in_transaction
    async def _put(
        self, record: EnvironmentObject, if_match: int | None, check: ValueCheck | None
    ) -> StoredRecord[EnvironmentObject]:
        kind = type(record)
        check_name(record.name, _NOUNS[kind])
        key = _KEYS[kind](record.name)
        found = await load(self._store, key, kind)
        check_match(key, found, if_match)
        stored = found.object if found else None
        _check_immutable_fields(record, stored)
        environments = self._store.snapshot.environments
        problems = await run_in_slices(object_problems(record, environments))
        if problems:
            raise ProblemsFound(f"{_NOUNS[kind]} {record.name} has problems", tuple(problems))
        if check is not None and (added := await check.problems()):
            raise ProblemsFound(
                f"{_NOUNS[kind]} {record.name} would break active releases: "
                "fix the problems, or use --force to write it anyway",
                added,
            )
        return _masked(await self._transaction.write(key, unmasked(record, stored), found))

    @in_transaction
    async def delete(
        self, kind: ObjectKind, name: str, if_match: int | None = None, *, force: bool = False
    ) -> None:
        """Delete an object.

        Args:
            kind: Kind of the object.
            name: Name of the object.
            if_match: Revision that the writer expects, see ``check_match``.
            force: Delete a virtual environment together with its releases.

        Raises:
            NotFound: The object does not exist.
            InUse: Another object refers to it, or it has a release and ``force`` is not set.
            RevisionConflict: The object has another revision.
        """
        key = _KEYS[kind](name)
        found = await load(self._store, key, kind)
        if found is None:
            raise _not_found(kind, name)
        check_match(key, found, if_match)
        _check_unused(kind, name, await self._store.usage(), force=force)
        if kind is VirtualEnvironment:
            await self._delete_releases(name)
        await self._transaction.delete(key)

    async def _delete_releases(self, name: str) -> None:
        snapshot = self._store.snapshot
        if name in snapshot.releases:
            await self._transaction.delete(release_key(name))
        usage = await self._store.usage()
        for manifest in sorted(usage.manifests(name)):
            await self._transaction.delete(manifest_key(name, manifest))


def _objects(snapshot: Snapshot, kind: ObjectKind) -> Mapping[str, EnvironmentObject]:
    if kind is Environment:
        return snapshot.environments
    if kind is VirtualEnvironment:
        return snapshot.virtual_environments
    return snapshot.http_adapters


def _masked(stored: StoredRecord[EnvironmentObject]) -> StoredRecord[EnvironmentObject]:
    return StoredRecord(revision=stored.revision, object=masked(stored.object))


def _not_found(kind: ObjectKind, name: str) -> NotFound:
    error = NotFound if kind is HTTPAdapter else EnvironmentNotFound
    return error(f"{_NOUNS[kind]} {name} does not exist")


def _check_immutable_fields(record: EnvironmentObject, stored: EnvironmentObject | None) -> None:
    if (
        isinstance(record, VirtualEnvironment)
        and isinstance(stored, VirtualEnvironment)
        and record.environment != stored.environment
    ):
        raise Immutable(
            f"virtual environment {record.name} belongs to environment {stored.environment} and "
            f"cannot move to {record.environment}: create another virtual environment"
        )


def _check_unused(kind: ObjectKind, name: str, usage: UsageIndex, *, force: bool) -> None:
    if kind is Environment and (users := usage.members(name)):
        raise InUse(
            f"environment {name} is used by virtual environment {listed(users)}: delete that first"
        )
    state = usage.snapshot.releases.get(name) if kind is VirtualEnvironment else None
    if state is not None and (state.active or state.pending) and not force:
        raise InUse(
            f"virtual environment {name} has a release: withdraw it with `fox release --none`, "
            "or use --force to delete both"
        )
