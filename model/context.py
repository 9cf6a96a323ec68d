"""The event context: how a shared pod knows whom it serves.

The genesis event gets an ``EventContext``, sealed into a token that rides in every child event. A
pod that meets a token for the first time asks a broker for its ``ComponentView``: whether it
belongs to the deployment at all, the versions of the components it declared, the values of the
variables it declared. The token names the exact revisions of the data, so a change of data makes a
new token, and a view can be cached by its token for ever.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec

from model import subjects
from model.component import ComponentDefinition, DependencyKind, Value, short
from model.deployment import Deployment
from model.errors import ComponentMismatch, InvalidEvent

MAC_BYTES = 16
ADAPTER_PREFIX = "adapter/"
"""How the source of an adapter's events begins."""


class EventContext(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """Which deployment, in which environment, at which revisions of their data.

    Attributes:
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release for a plain URL, empty for an explicit one.
        manifest: Id of the manifest the data is frozen in, empty for live data.
        deployment_revision: KV revision of the deployment; 0 with a manifest.
        virtual_environment_revision: KV revision of the virtual environment; 0 with a manifest.
        environment_revision: KV revision of the environment below; 0 with a manifest.
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
    """What one component version may know of one context.

    Attributes:
        app: Name of the app.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        release: Id of the release, or empty.
        vars: Values of the declared variables, defaults filled in.
        targets: NATS subject of every declared dependency, by its name.
        callers: Every ``component@hash`` of the deployment that declares this one.
    """

    app: str
    deployment: str
    virtual_environment: str
    release: str
    vars: dict[str, Value]
    targets: dict[str, str]
    callers: frozenset[str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(EventContext).decode


def seal(context: EventContext, key: bytes) -> str:
    """Return the context as a URL-safe token whose MAC only holders of ``key`` can make."""
    claims = _encode(context)
    return base64.urlsafe_b64encode(_mac(claims, key) + claims).decode().rstrip("=")


def unseal(token: str, key: bytes) -> EventContext:
    """Return the context of a token.

    Raises:
        InvalidEvent: Not a token, or not sealed with ``key``.
    """
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidEvent("context token cannot be read") from error
    mac, claims = sealed[:MAC_BYTES], sealed[MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(claims, key)):
        raise InvalidEvent("context token was not sealed by this platform")
    try:
        return _decode(claims)
    except msgspec.MsgspecError as error:
        raise InvalidEvent("context token cannot be read") from error


def view_of(
    context: EventContext,
    deployment: Deployment,
    definitions: dict[str, ComponentDefinition],
    values: dict[str, Value],
    component: str,
    digest: str,
) -> ComponentView:
    """Return what ``component`` at ``digest`` may know of ``context``.

    Args:
        context: Whose claims the view repeats.
        deployment: The graph at the context's revision.
        definitions: Of every component of the deployment, by name.
        values: All variables of the environment at the context's revision.
        component: Name of the asking component.
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
    return ComponentView(
        app=context.app,
        deployment=context.deployment,
        virtual_environment=context.virtual_environment,
        release=context.release,
        vars=_declared_values(definition, values),
        targets=_targets(definition, deployment),
        callers=_callers(component, deployment, definitions),
    )


def source_name(component: str, digest: str) -> str:
    """Return how a component version signs its events, as in ``Event.source``."""
    return f"{component}@{digest}"


def adapter_source(kind: str) -> str:
    """Return how an adapter signs its events, as in ``Event.source``."""
    return ADAPTER_PREFIX + kind


def _mac(claims: bytes, key: bytes) -> bytes:
    return hmac.digest(key, claims, hashlib.sha256)[:MAC_BYTES]


def _declared_values(definition: ComponentDefinition, values: dict[str, Value]) -> dict[str, Value]:
    declared = {each.name: values.get(each.name, each.default) for each in definition.variables}
    return {name: value for name, value in declared.items() if value is not None}


def _targets(definition: ComponentDefinition, deployment: Deployment) -> dict[str, str]:
    targets = {}
    for each in definition.dependencies:
        if each.kind is DependencyKind.ADAPTER:
            targets[each.name] = subjects.adapter(each.name)
        elif each.name in deployment.components:
            digest = deployment.components[each.name]
            targets[each.name] = subjects.component(deployment.app, each.name, digest)
    return targets


def _callers(
    component: str, deployment: Deployment, definitions: dict[str, ComponentDefinition]
) -> frozenset[str]:
    return frozenset(
        source_name(name, deployment.components[name])
        for name, definition in definitions.items()
        if any(
            each.name == component and each.kind is DependencyKind.COMPONENT
            for each in definition.dependencies
        )
    )
