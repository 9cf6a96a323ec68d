"""The YAML kinds of ``kubefox.xigxog.io/v1alpha1``, as ``fox apply -f`` reads them.

Several documents may lie in one file. Every error names the file, the document and the dotted
path in it; an unknown field is an error, because a misspelt one would be lost in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from fox.source import yaml_text
from fox.source.spec import located
from model.component import Value
from model.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
)
from model.errors import InvalidRequest
from model.names import check_name
from model.release import ReleasedApp

_MAX_INTEGER = (1 << 63) - 1


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One document.

    Attributes:
        object: What is to be stored.
        release: Which deployment is to serve each app, when the document of a virtual
            environment asks for a release; empty when nothing is to be, None when it does not ask.
        place: File and document it was read from, for errors.
    """

    object: Environment | VirtualEnvironment | HTTPAdapter
    release: dict[str, ReleasedApp] | None = None
    place: str = ""


class _Strict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """A part of a document: no field but those it names."""


class _Metadata(_Strict, frozen=True, kw_only=True):
    name: str


class _HistoryLimits(_Strict, frozen=True, kw_only=True):
    count: int | None = None


class _ReleasePolicy(_Strict, frozen=True, kw_only=True):
    type: PolicyType = PolicyType.STABLE
    activation_deadline_seconds: float | None = None
    history_limits: _HistoryLimits = _HistoryLimits()

    def to_policy(self) -> ReleasePolicy:
        given = {
            "activation_deadline_s": self.activation_deadline_seconds,
            "history_limit": self.history_limits.count,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(ReleasePolicy(type=self.type), **changes)


class _Data(_Strict, frozen=True, kw_only=True):
    vars: dict[str, Any] = {}
    secrets: dict[str, Any] = {}

    def to_data(self) -> EnvironmentData:
        return EnvironmentData(
            vars=_values(self.vars, "data.vars"), secrets=_values(self.secrets, "data.secrets")
        )


class _EnvironmentSpec(_Strict, frozen=True, kw_only=True):
    release_policy: _ReleasePolicy | None = None


class _AppRelease(_Strict, frozen=True, kw_only=True):
    app_deployment: str
    version: str | None = None


class _Release(_Strict, frozen=True, kw_only=True):
    apps: dict[str, _AppRelease]

    def to_apps(self) -> dict[str, ReleasedApp]:
        return {
            app: ReleasedApp(deployment=wanted.app_deployment, version=wanted.version)
            for app, wanted in self.apps.items()
        }


class _VirtualEnvironmentSpec(_Strict, frozen=True, kw_only=True):
    environment: str
    release_policy: _ReleasePolicy | None = None
    release: _Release | None = None


class _HTTPAdapterSpec(_Strict, frozen=True, kw_only=True):
    url: str
    headers: dict[str, str] = {}
    insecure_skip_verify: bool = False
    follow_redirects: bool = False


class _Document(_Strict, frozen=True, kw_only=True):
    """What all kinds have."""

    api_version: Literal["kubefox.xigxog.io/v1alpha1"]
    kind: str
    metadata: _Metadata


class _Environment(_Document, frozen=True, kw_only=True):
    spec: _EnvironmentSpec = _EnvironmentSpec()
    data: _Data = _Data()

    def to_manifest(self) -> Manifest:
        return Manifest(
            object=Environment(
                name=self.metadata.name,
                data=self.data.to_data(),
                release_policy=_policy(self.spec.release_policy),
            )
        )


class _VirtualEnvironment(_Document, frozen=True, kw_only=True):
    spec: _VirtualEnvironmentSpec
    data: _Data = _Data()

    def to_manifest(self) -> Manifest:
        release = self.spec.release
        return Manifest(
            object=VirtualEnvironment(
                name=self.metadata.name,
                environment=self.spec.environment,
                data=self.data.to_data(),
                release_policy=_policy(self.spec.release_policy),
            ),
            release=release.to_apps() if release else None,
        )


class _HTTPAdapter(_Document, frozen=True, kw_only=True):
    spec: _HTTPAdapterSpec

    def to_manifest(self) -> Manifest:
        fields = msgspec.structs.asdict(self.spec)
        return Manifest(object=HTTPAdapter(name=self.metadata.name, **fields))


_KINDS: dict[str, type[_Environment | _VirtualEnvironment | _HTTPAdapter]] = {
    "Environment": _Environment,
    "VirtualEnvironment": _VirtualEnvironment,
    "HTTPAdapter": _HTTPAdapter,
}


def read_manifests(text: str, source: str) -> tuple[Manifest, ...]:
    """Return the documents of a YAML text, in their order; empty ones are left out.

    Args:
        text: Content of the file.
        source: Name of the file, for errors.

    Raises:
        InvalidRequest: It is not YAML, or a document is not of a known kind; the message names
            the file, the document and the path.
    """
    return tuple(
        _located(f"{source}, document {number}", _read, document)
        for number, document in enumerate(_documents(text, source), start=1)
        if document is not None
    )


def _documents(text: str, source: str) -> Iterator[Any]:
    try:
        yield from yaml_text.documents(text)
    except yaml_text.NOT_YAML as error:
        why = yaml_text.reason(error)
        raise InvalidRequest(f"{source} is not valid YAML: {why}") from error


def _located(place: str, read: Callable[[Any], Manifest], document: Any) -> Manifest:
    try:
        return msgspec.structs.replace(read(document), place=place)
    except msgspec.ValidationError as error:
        what, path = located(error)
        raise InvalidRequest(f"{place}: {path}: {what}" if path else f"{place}: {error}") from error
    except InvalidRequest as error:
        raise InvalidRequest(f"{place}: {error.detail}") from error


def _read(document: Any) -> Manifest:
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise InvalidRequest(f"kind: expected one of {', '.join(_KINDS)}, got {kind!r}")
    manifest = msgspec.convert(document, _KINDS[kind]).to_manifest()
    try:
        check_name(manifest.object.name, kind)
    except InvalidRequest as error:
        raise InvalidRequest(f"metadata.name: {error.detail}") from error
    return manifest


def _policy(policy: _ReleasePolicy | None) -> ReleasePolicy | None:
    return policy.to_policy() if policy else None


def _values(raw: dict[str, Any], path: str) -> dict[str, Value]:
    """Return the values, each of an allowed type; msgspec's own error would not name the key."""
    for name, value in raw.items():
        parts = value if isinstance(value, list) else [value]
        nested = isinstance(value, list)
        if not all(_is_allowed(part, in_list=nested) for part in parts):
            raise InvalidRequest(
                f"{path}.{name}: expected a string, number, boolean, or list of strings or "
                f"numbers, got {_shown(value, path)}"
            )
    return raw


def _shown(value: Any, path: str) -> str:
    return repr(value) if path == "data.vars" else f"{type(value).__name__}, which is not shown"


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
