"""Resources as the API of the cluster sends them, and their reading."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from control.environments import ObjectKind
from kubefox.custom_resources import (
    ENVIRONMENT,
    FINALIZER,
    FORCE,
    HTTP_ADAPTER,
    VIRTUAL_ENVIRONMENT,
    EnvironmentResource,
    Resource,
    ResourceKind,
    ResourceStatus,
    VirtualEnvironmentResource,
    names_in,
    to_document,
)
from kubefox.decoding import DECODE_ERRORS, split_message
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.errors import InvalidRequest
from kubefox.yaml_objects import Manifest, to_manifest
from pods.kubernetes.follow import Meta


class ResourceKey(NamedTuple):
    """Kind and name of a resource."""

    kind: ResourceKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.name}"


class ResourceFault(Exception):
    """A resource cannot be applied until somebody changes something.

    Args:
        reason: Reason of the condition.
        message: Description for people.
        again_s: Time after which it is tried again; None for a back-off.
    """

    def __init__(self, reason: str, message: str, again_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.again_s = again_s


class ResourceMeta(Meta, frozen=True, kw_only=True):
    """The metadata of a resource.

    Attributes:
        generation: Changes with each change of what users write.
        finalizers: Names of the finalizers that keep it.
    """

    generation: int = 0
    finalizers: tuple[str, ...] = ()


class ClusterObject(msgspec.Struct, frozen=True, kw_only=True):
    """A resource, not read yet: what its definition allows may still be wrong.

    Attributes:
        metadata: Its metadata.
        spec: Settings.
        data: Values.
        status: The status that the platform has written.
    """

    metadata: ResourceMeta
    spec: Any = None
    data: Any = None
    status: Any = None

    @property
    def is_leaving(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    @property
    def has_finalizer(self) -> bool:
        """Whether it has the finalizer of the platform."""
        return FINALIZER in self.metadata.finalizers

    @property
    def is_forced(self) -> bool:
        """Whether it is applied and deleted as ``--force`` does."""
        return self.metadata.annotations.get(FORCE) == "true"

    def status_of(self, kind: ResourceKind) -> ResourceStatus:
        """Return the status, or an empty one if it cannot be read."""
        try:
            return msgspec.convert(self.status or {}, kind.status)
        except msgspec.ValidationError:
            return kind.status()

    def is_older_than(self, other: ClusterObject) -> bool:
        """Return whether another state of the same object is newer."""
        mine, theirs = self.metadata, other.metadata
        return mine.uid == theirs.uid and int(mine.resource_version) < int(theirs.resource_version)

    def is_like(self, other: ClusterObject) -> bool:
        """Return whether two states of an object do not differ in anything that matters here."""
        mine, theirs = self.metadata, other.metadata
        return (
            mine.uid == theirs.uid
            and mine.generation == theirs.generation
            and mine.deletion_timestamp == theirs.deletion_timestamp
            and mine.annotations == theirs.annotations
            and mine.labels == theirs.labels
            and mine.finalizers == theirs.finalizers
            and self.status == other.status
        )


RECORDS: Mapping[ResourceKind, ObjectKind] = {
    ENVIRONMENT: Environment,
    VIRTUAL_ENVIRONMENT: VirtualEnvironment,
    HTTP_ADAPTER: HTTPAdapter,
}


def read_fields(key: ResourceKey, found: ClusterObject) -> Resource:
    """Return what users have written in a resource.

    Raises:
        ResourceFault: It does not fit the kind; the message names the path.
    """
    given = {"spec": found.spec, "data": found.data}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        fields: Resource = msgspec.convert(given, key.kind.resource)
    except msgspec.ValidationError as error:
        fault, path = split_message(error)
        raise ResourceFault("Invalid", f"{path}: {fault}" if path else fault) from error
    return fields


def secret_name(fields: Resource) -> str:
    """Return the name of the Secret that a resource names, or an empty text."""
    if isinstance(fields, EnvironmentResource | VirtualEnvironmentResource):
        reference = fields.data.secret_ref
        return "" if reference is None else reference.name
    return ""


def read_manifest(name: str, fields: Resource, secrets: dict[str, str]) -> Manifest:
    """Return the object that a resource describes.

    Raises:
        ResourceFault: A value is not valid.
    """
    try:
        return to_manifest(to_document(name, fields, secrets))
    except InvalidRequest as error:
        raise ResourceFault("Invalid", error.detail) from error
    except RecursionError as error:
        raise ResourceFault("Invalid", "a value is nested too deeply") from error


def allows(secret: Mapping[str, Any], key: ResourceKey) -> bool:
    """Return whether a Secret names a resource among those that may use it."""
    annotations = secret["metadata"].get("annotations") or {}
    return key.name in names_in(annotations.get(key.kind.allowing_annotation, ""))


def secret_unavailable(key: ResourceKey, name: str) -> ResourceFault:
    """Return the fault of a resource that may not use a Secret.

    The fault is the same if the Secret does not exist: users who may create resources must not
    learn which Secrets exist.
    """
    return ResourceFault(
        "SecretUnavailable",
        f"Secret {name} cannot be used: it does not exist, control has no right to read it, or its "
        f"annotation {key.kind.allowing_annotation} does not name {key.name}",
    )


def secrets_in(name: str, secret: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts in a Secret.

    Raises:
        ResourceFault: A value is not UTF-8.
    """
    found = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value).decode()
        except DECODE_ERRORS as error:
            raise ResourceFault(
                "InvalidSecret", f"{key} of Secret {name} is not a text in UTF-8"
            ) from error
    return found
