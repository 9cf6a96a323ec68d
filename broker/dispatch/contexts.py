"""Event contexts: sealed for genesis events, and opened to the data at their revisions."""

from __future__ import annotations

from operator import attrgetter
from typing import TypeVar

import msgspec

from broker.storage.store import Store
from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Value
from kubefox.context import ComponentView, EventContext, view_of
from kubefox.deployment import Deployment
from kubefox.derived_key import derived_key
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment, overlay
from kubefox.errors import InvalidContext, InvalidEvent
from kubefox.records import Record
from kubefox.release import ReleaseManifest
from kubefox.sized_cache import SizedCache
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.snapshot import Snapshot

CACHE_BYTES = 32 << 20
"""Default memory for the data of opened contexts."""
_CONTEXT_BYTES = 1_200
_VALUE_BYTES = 150
"""Estimates of what the data of a context takes, and each of its values; records are shared."""

_Kind = TypeVar("_Kind", bound=Record)


class ContextData(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a context, at exactly its revisions.

    Attributes:
        context: The context itself.
        deployment: The deployment.
        definitions: Definitions of all its components, by name.
        data: Variables and secrets of the environment.
    """

    context: EventContext
    deployment: Deployment
    definitions: dict[str, ComponentDefinition]
    data: EnvironmentData

    @property
    def vars(self) -> dict[str, Value]:
        """All variables of the environment."""
        return self.data.vars

    @property
    def size_bytes(self) -> int:
        """Estimate of what it takes in memory, with its token."""
        values = len(self.data.vars) + len(self.data.secrets)
        return _CONTEXT_BYTES + _VALUE_BYTES * (values + len(self.definitions))

    def view(self, component: str, digest: str) -> ComponentView:
        """Return the view of one component version; see ``kubefox.context.view_of``."""
        return view_of(
            self.context, self.deployment, self.definitions, self.vars, component, digest
        )


class Contexts:
    """Seals and opens the contexts of this platform.

    Args:
        store: Reads the data and its history, and has the platform's keys.
        max_bytes: Memory for opened contexts; see ``SizedCache``.

    Attributes:
        cache: The data of opened contexts, by token.
    """

    def __init__(self, store: Store, *, max_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._keys = store.keys
        self.cache: SizedCache[str, ContextData] = SizedCache(max_bytes, attrgetter("size_bytes"))
        # A token of a removed key is valid no more, even if it was opened before.
        self._keys.listen(self.cache.clear)

    def seal(self, context: EventContext) -> str:
        """Return the token of a context."""
        return self._keys.seal(context)

    def resealed(self, token: str) -> str:
        """Return the token of the same context by the current key; one that is not valid stays."""
        try:
            return self._keys.seal(self._keys.unseal(token))
        except InvalidEvent:
            return token

    def derived_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Return the keys for a purpose, the one for new signatures first."""
        return tuple(derived_key(key, purpose) for key in self._keys.sealing_keys)

    def claims(self, token: str) -> EventContext:
        """Return the context of a token, without its data, which may be deleted.

        Raises:
            InvalidEvent: The token is not valid on this platform.
        """
        return self._keys.unseal(token)

    async def open(self, token: str) -> ContextData:
        """Return the data of a token, at exactly its revisions.

        The data is cached: that of one token never changes.

        Raises:
            InvalidEvent: The token is not valid on this platform.
            InvalidContext: A record of the context is deleted.
            NatsUnavailable: A record must be read, and NATS does not answer.
        """
        if not self._keys.knows_key_of(token):
            await self._keys.refresh()
        data = self.open_from_memory(token)
        if data is None:
            data = await self._load(self._keys.unseal(token))
            self.cache.put(token, data)
        return data

    def open_from_memory(self, token: str) -> ContextData | None:
        """Return the data of a token, or None if its key or a record of it must be read.

        Raises:
            InvalidEvent: The token is not valid on this platform.
        """
        data = self.cache.get(token)
        if data is None and self._keys.knows_key_of(token):
            data = _from_snapshot(self._keys.unseal(token), self._store.snapshot)
            if data is not None:
                self.cache.put(token, data)
        return data

    async def _load(self, context: EventContext) -> ContextData:
        if context.manifest:
            deployment, data = await self._frozen(context)
        else:
            deployment, data = await self._live(context)
        return ContextData(
            context=context,
            deployment=deployment,
            definitions=await self._definitions(deployment),
            data=data,
        )

    async def _frozen(self, context: EventContext) -> tuple[Deployment, EnvironmentData]:
        key = records.manifest_key(context.virtual_environment, context.manifest)
        current = self._store.snapshot.manifest(context.virtual_environment, context.manifest)
        manifest = current or await self._read(ReleaseManifest, key, None)
        return manifest.deployments[context.app], manifest.data

    async def _live(self, context: EventContext) -> tuple[Deployment, EnvironmentData]:
        snapshot = self._store.snapshot
        deployment = await self._at(
            Deployment,
            records.deployment_key(context.deployment),
            context.deployment_revision,
            snapshot.deployments.get(context.deployment),
        )
        virtual = await self._at(
            VirtualEnvironment,
            records.virtual_environment_key(context.virtual_environment),
            context.virtual_environment_revision,
            snapshot.virtual_environments.get(context.virtual_environment),
        )
        environment = await self._at(
            Environment,
            records.environment_key(virtual.environment),
            context.environment_revision,
            snapshot.environments.get(virtual.environment),
        )
        return deployment, overlay(environment, virtual)

    async def _definitions(self, deployment: Deployment) -> dict[str, ComponentDefinition]:
        definitions = {}
        for name, digest in deployment.components.items():
            key = records.component_key(deployment.app, name, digest)
            current = self._store.snapshot.component(deployment.app, name, digest)
            version = current or await self._read(ComponentVersion, key, None)
            definitions[name] = version.definition
        return definitions

    async def _at(self, kind: type[_Kind], key: str, revision: int, current: _Kind | None) -> _Kind:
        if current is not None and self._store.snapshot.revision_of(key) == revision:
            return current
        return await self._read(kind, key, revision)

    async def _read(self, kind: type[_Kind], key: str, revision: int | None) -> _Kind:
        found = await self._store.get(key, revision)
        if found is None or not isinstance(found[0], kind):
            which = f"{key} at revision {revision}" if revision else key
            raise InvalidContext(f"the context is too old: {which} is gone")
        return found[0]


def _from_snapshot(context: EventContext, snapshot: Snapshot) -> ContextData | None:
    """Return the data of a context if all its records are current."""
    found = _frozen(context, snapshot) if context.manifest else _live(context, snapshot)
    if found is None:
        return None
    deployment, data = found
    definitions, missing = definitions_of(deployment, snapshot.records)
    if missing:
        return None
    return ContextData(context=context, deployment=deployment, definitions=definitions, data=data)


def _frozen(context: EventContext, snapshot: Snapshot) -> tuple[Deployment, EnvironmentData] | None:
    manifest = snapshot.manifest(context.virtual_environment, context.manifest)
    return None if manifest is None else (manifest.deployments[context.app], manifest.data)


def _live(context: EventContext, snapshot: Snapshot) -> tuple[Deployment, EnvironmentData] | None:
    entries = snapshot.records
    deployment = entries.deployments.get(context.deployment)
    virtual = entries.virtual_environments.get(context.virtual_environment)
    if deployment is None or virtual is None:
        return None
    environment = entries.environments.get(virtual.record.environment)
    if environment is None:
        return None
    is_current = (
        deployment.revision == context.deployment_revision
        and virtual.revision == context.virtual_environment_revision
        and environment.revision == context.environment_revision
    )
    if not is_current:
        return None
    return deployment.record, overlay(environment.record, virtual.record)
