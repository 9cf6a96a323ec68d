"""Contexts at work: seal them for genesis events, load what they claim, answer for a view."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from broker.store import Store
from model import records
from model.component import ComponentDefinition, ComponentVersion, Value
from model.context import ComponentView, EventContext, seal, unseal, view_of
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, VirtualEnvironment, overlay
from model.errors import InvalidContext
from model.records import Record
from model.release import ReleaseManifest

MAX_OPENED = 4096

_Kind = TypeVar("_Kind", bound=Record)


class ContextData(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a context's revisions stand for.

    Attributes:
        context: The claims.
        deployment: The graph.
        definitions: Of every component of the graph, by name.
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

    def view(self, component: str, digest: str) -> ComponentView:
        """Return what one component version may know; see ``model.context.view_of``."""
        return view_of(
            self.context, self.deployment, self.definitions, self.vars, component, digest
        )


class Contexts:
    """Seals and opens the contexts of this platform.

    Args:
        store: Holds the data, its history included.
        key: The platform's key.
    """

    def __init__(self, store: Store, key: bytes) -> None:
        """Keep where the data lies and what seals it."""
        self._store = store
        self._key = key
        self._opened: dict[str, ContextData] = {}

    def seal(self, context: EventContext) -> str:
        """Return the token of a context."""
        return seal(context, self._key)

    def claims(self, token: str) -> EventContext:
        """Return what a token claims, whether or not its data is still kept.

        Raises:
            InvalidEvent: The token is not one of this platform.
        """
        return unseal(token, self._key)

    async def open(self, token: str) -> ContextData:
        """Return what a token stands for, at exactly the revisions it names.

        What was opened once is kept: a token never changes its meaning.

        Raises:
            InvalidEvent: The token is not one of this platform.
            InvalidContext: What it names is no longer kept.
            NatsUnavailable: It had to be read, and NATS does not answer.
        """
        data = self._opened.get(token)
        if data is None:
            data = await self._load(unseal(token, self._key))
            if len(self._opened) >= MAX_OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[token] = data
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
        held = self._store.snapshot.manifest(context.virtual_environment, context.manifest)
        manifest = held or await self._read(ReleaseManifest, key, None)
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
            held = self._store.snapshot.component(deployment.app, name, digest)
            version = held or await self._read(ComponentVersion, key, None)
            definitions[name] = version.definition
        return definitions

    async def _at(self, kind: type[_Kind], key: str, revision: int, held: _Kind | None) -> _Kind:
        if held is not None and self._store.snapshot.revision_of(key) == revision:
            return held
        return await self._read(kind, key, revision)

    async def _read(self, kind: type[_Kind], key: str, revision: int | None) -> _Kind:
        found = await self._store.get(key, revision)
        if found is None or not isinstance(found[0], kind):
            which = f"{key} at revision {revision}" if revision else key
            raise InvalidContext(f"the context is too old: {which} is gone")
        return found[0]
