"""Objects of the platform from the documents of the YAML kinds."""

from __future__ import annotations

import math
from typing import Any, assert_never

import msgspec

from kubefox import printable
from kubefox.component import Value
from kubefox.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.errors import InvalidRequest
from kubefox.release import ReleasedApp
from kubefox.yaml_kinds import (
    Data,
    Document,
    EnvironmentDocument,
    HTTPAdapterDocument,
    ReleaseFields,
    ReleasePolicyFields,
    VirtualEnvironmentDocument,
)

_MAX_INTEGER = (1 << 63) - 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """An object that a document describes.

    Attributes:
        object: The object to store.
        release: The deployment to release for each app, from the document of a virtual
            environment; empty withdraws the release, None does not change it.
        place: The file and the document, for errors.
    """

    object: Environment | VirtualEnvironment | HTTPAdapter
    release: dict[str, ReleasedApp] | None = None
    place: str = ""


def to_manifest(document: Document) -> Manifest:
    """Return the object that a document describes.

    Raises:
        InvalidRequest: A value is of a type that no variable may have; the message names the path.
    """
    name = document.metadata.name
    match document:
        case EnvironmentDocument(spec=spec, data=data):
            environment = Environment(
                name=name,
                data=_data(data),
                release_policy=_policy(spec.release_policy),
                production=spec.production,
                selection=spec.selection,
            )
            return Manifest(object=environment)
        case VirtualEnvironmentDocument(spec=spec, data=data):
            virtual_environment = VirtualEnvironment(
                name=name,
                environment=spec.environment,
                data=_data(data),
                release_policy=_policy(spec.release_policy),
                production=spec.production,
                selection=spec.selection,
            )
            return Manifest(object=virtual_environment, release=_release(spec.release))
        case HTTPAdapterDocument(spec=spec):
            return Manifest(object=HTTPAdapter(name=name, **msgspec.structs.asdict(spec)))
        case _:
            assert_never(document)


def _release(release: ReleaseFields | None) -> dict[str, ReleasedApp] | None:
    if release is None:
        return None
    return {
        app: ReleasedApp(deployment=target.app_deployment, version=target.version)
        for app, target in release.apps.items()
    }


def _policy(policy: ReleasePolicyFields | None) -> ReleasePolicy | None:
    if policy is None:
        return None
    limits = {
        "activation_deadline_s": policy.activation_deadline_seconds,
        "history_limit": policy.history_limits.count,
    }
    given = {name: value for name, value in limits.items() if value is not None}
    return msgspec.structs.replace(ReleasePolicy(type=policy.type), **given)


def _data(data: Data) -> EnvironmentData:
    return EnvironmentData(
        vars=_values(data.vars, "data.vars"), secrets=_values(data.secrets, "data.secrets")
    )


def _values(raw: dict[str, Any], path: str) -> dict[str, Value]:
    """Return values after a check of their types; an error of msgspec would not name the key."""
    for name, value in raw.items():
        is_list = isinstance(value, list)
        elements = value if is_list else [value]
        if not all(_is_allowed(element, in_list=is_list) for element in elements):
            raise InvalidRequest(
                f"{path}.{printable.shortened(name)}: expected a string, number, boolean, or "
                f"list of strings or numbers, got {_shown(value, path)}"
            )
    return raw


def _shown(value: Any, path: str) -> str:
    """Return a value for an error message; of a secret, only the type."""
    if path == "data.vars":
        return printable.shortened(repr(value))
    return f"{type(value).__name__}, which is not shown"


def _is_allowed(value: Any, *, in_list: bool) -> bool:
    match value:
        case bool():
            return not in_list
        case int():
            return abs(value) <= _MAX_INTEGER
        case float():
            return math.isfinite(value)
        case _:
            return isinstance(value, str)
