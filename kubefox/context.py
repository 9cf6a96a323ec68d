"""The event context: the deployment and environment that an event belongs to.

Pods are shared by deployments, so every event carries its context. The genesis event gets an
``EventContext``, which is sealed into a token; all events below it carry the token. At the first
event with a token, a pod requests its ``ComponentView`` from a broker: the subjects of its
dependencies and the values of its variables in that context. The token names the exact revisions of
the data. A change of data makes a new token, so a view can be cached by its token without expiry.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from kubefox import subjects
from kubefox.component import ComponentDefinition, DependencyKind, Value, short
from kubefox.deployment import Deployment
from kubefox.errors import ComponentMismatch, InvalidEvent
from kubefox.senders import ADAPTER_PREFIX

MAC_BYTES = 16
LEGACY_KEY = "legacy"
"""Id of the key of tokens without a key id, which earlier versions of the platform made."""


class EventContext(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """A deployment and a virtual environment at exact revisions of their data.

    Attributes:
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release for a plain URL, empty for an explicit one.
        manifest: Id of the manifest that freezes the data, empty for live data.
        deployment_revision: KV revision of the deployment; 0 with a manifest.
        virtual_environment_revision: KV revision of the virtual environment; 0 with a manifest.
        environment_revision: KV revision of its environment; 0 with a manifest.
    """

    app: str
    deployment: str
    virtual_environment: str
    release: str = ""
    manifest: str = ""
    deployment_revision: int = 0
    virtual_environment_revision: int = 0
    environment_revision: int = 0


class ComponentView(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a context that one component version may read.

    Attributes:
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release, or empty.
        vars: Values of the declared variables, with defaults.
        missing_vars: Names of the declared variables that have no value.
        targets: NATS subject of every declared dependency, by its name.
        callers: ``component@hash`` of every component that declares this one as a dependency.
    """

    app: str
    deployment: str
    virtual_environment: str
    release: str
    vars: dict[str, Value]
    targets: dict[str, str]
    callers: frozenset[str]
    missing_vars: frozenset[str] = frozenset()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EventContext).decode


def seal(context: EventContext, key_id: str, key: bytes) -> str:
    """Return the context as a token: ``<key id>.<MAC and claims>``, all of it URL-safe."""
    claims = _encode(context)
    sealed = base64.urlsafe_b64encode(_mac(claims, key) + claims).decode().rstrip("=")
    return f"{key_id}.{sealed}"


def sealing_key_of(token: str) -> str:
    """Return the id of the key that a token was sealed with, as the token says."""
    key_id, dot, _ = token.partition(".")
    return key_id if dot else LEGACY_KEY


def unseal(token: str, keys: Mapping[str, bytes]) -> EventContext:
    """Return the context of a token.

    Args:
        token: The token.
        keys: Sealing keys by id.

    Raises:
        InvalidEvent: The text is no token, or was not sealed with one of the keys.
    """
    key = keys.get(sealing_key_of(token))
    if key is None:
        raise InvalidEvent(
            "the context token was sealed with a key that this platform does not have: "
            "the event is too old, or of another platform"
        )
    try:
        sealed = _sealed_part(token)
    except ValueError as error:
        raise InvalidEvent("the context token cannot be read") from error
    mac, claims = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(claims, key)):
        raise InvalidEvent("the context token was not sealed by this platform")
    try:
        return _decode(claims)
    except msgspec.MsgspecError as error:
        raise InvalidEvent("the context token cannot be read") from error


def unchecked(token: str) -> EventContext | None:
    """Return the context of a token without checking its seal; None if it cannot be read."""
    try:
        return _decode(_sealed_part(token)[MAC_BYTES:])
    except (ValueError, msgspec.MsgspecError):
        return None


def _sealed_part(token: str) -> bytes:
    text = token.rpartition(".")[2]
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


@functools.lru_cache(maxsize=4_096)
def app_of(token: str) -> str:
    """Return the app of a token without checking its seal; empty if it cannot be read."""
    context = unchecked(token)
    return context.app if context is not None else ""


@functools.lru_cache(maxsize=4_096)
def lane_of(token: str) -> str:
    """Return the deployment and virtual environment of a token, without checking its seal.

    It tells contexts apart where they share something; any other text is its own name.
    """
    context = unchecked(token)
    if context is None:
        return token
    return f"{context.app}/{context.deployment}/{context.virtual_environment}"


def view_of(
    context: EventContext,
    deployment: Deployment,
    definitions: dict[str, ComponentDefinition],
    values: dict[str, Value],
    component: str,
    digest: str,
) -> ComponentView:
    """Return the view of ``context`` for ``component`` at ``digest``.

    Args:
        context: The context.
        deployment: The deployment at the context's revision.
        definitions: Definition of every component of the deployment, by name.
        values: All variables of the environment at the context's revision.
        component: Name of the component.
        digest: Its full hash.

    Raises:
        ComponentMismatch: The deployment has no such component version.
    """
    if deployment.components.get(component) != digest:
        raise ComponentMismatch(
            f"{component}@{short(digest)} is not part of deployment {deployment.name}",
            hop=f"{component}@{short(digest)}",
        )
    definition = definitions[component]
    declared = _declared_values(definition, values)
    return ComponentView(
        app=context.app,
        deployment=context.deployment,
        virtual_environment=context.virtual_environment,
        release=context.release,
        vars=declared,
        missing_vars=frozenset(
            variable.name for variable in definition.variables if variable.name not in declared
        ),
        targets=_targets(definition, deployment),
        callers=_callers(component, deployment, definitions),
    )


def source_name(component: str, digest: str) -> str:
    """Return the source of a component version's events, as in ``Event.source``."""
    return f"{component}@{digest}"


def adapter_source(kind: str) -> str:
    """Return the source of an adapter's events, as in ``Event.source``."""
    return ADAPTER_PREFIX + kind


def _mac(claims: bytes, key: bytes) -> bytes:
    return hmac.digest(key, claims, hashlib.sha256)[:MAC_BYTES]


def _declared_values(definition: ComponentDefinition, values: dict[str, Value]) -> dict[str, Value]:
    declared = {
        variable.name: values.get(variable.name, variable.default)
        for variable in definition.variables
    }
    return {name: value for name, value in declared.items() if value is not None}


def _targets(definition: ComponentDefinition, deployment: Deployment) -> dict[str, str]:
    targets = {}
    for dependency in definition.dependencies:
        name = dependency.name
        if dependency.kind is DependencyKind.ADAPTER:
            targets[name] = subjects.adapter(name)
        elif name in deployment.components:
            digest = deployment.components[name]
            targets[name] = subjects.component(deployment.app, name, digest)
    return targets


def _callers(
    component: str, deployment: Deployment, definitions: dict[str, ComponentDefinition]
) -> frozenset[str]:
    return frozenset(
        source_name(name, deployment.components[name])
        for name, definition in definitions.items()
        if any(
            dependency.name == component and dependency.kind is DependencyKind.COMPONENT
            for dependency in definition.dependencies
        )
    )
