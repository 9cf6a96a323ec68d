"""Which record of the control plane belongs to which resource, and which ones a resource needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from control.secret_masks import EnvironmentObject
from fox.custom_resources.cluster_objects import ResourceKey
from kubefox import records
from kubefox.custom_resources import (
    ENVIRONMENT,
    HTTP_ADAPTER,
    VIRTUAL_ENVIRONMENT,
    Resource,
    ResourceKind,
    VirtualEnvironmentResource,
)
from routing.snapshot.snapshot import Snapshot

_KEYS: Mapping[ResourceKind, Callable[[str], str]] = {
    ENVIRONMENT: records.environment_key,
    VIRTUAL_ENVIRONMENT: records.virtual_environment_key,
    HTTP_ADAPTER: records.http_adapter_key,
}
_KINDS: Mapping[str, ResourceKind] = {
    "environment": ENVIRONMENT,
    "virtual-environment": VIRTUAL_ENVIRONMENT,
    "release": VIRTUAL_ENVIRONMENT,
    "http-adapter": HTTP_ADAPTER,
}


def record_key(key: ResourceKey) -> str:
    """Return the key of the record that a resource describes."""
    return _KEYS[key.kind](key.name)


def resource_of(record: str) -> ResourceKey | None:
    """Return the resource that a record belongs to; None for a record of another kind."""
    kind = _KINDS.get(records.kind_of(record))
    return None if kind is None else ResourceKey(kind, record.partition(".")[2])


def needed_records(fields: Resource) -> frozenset[str]:
    """Return the keys of the records that must exist before a resource can be applied."""
    if not isinstance(fields, VirtualEnvironmentResource):
        return frozenset()
    release = fields.spec.release
    deployments = () if release is None else release.apps.values()
    return frozenset(
        {
            records.environment_key(fields.spec.environment),
            *(records.deployment_key(app.app_deployment) for app in deployments),
        }
    )


def stored_object(key: ResourceKey, snapshot: Snapshot) -> EnvironmentObject | None:
    """Return the object that the platform has for a resource, or None."""
    if key.kind is ENVIRONMENT:
        return snapshot.environments.get(key.name)
    if key.kind is VIRTUAL_ENVIRONMENT:
        return snapshot.virtual_environments.get(key.name)
    return snapshot.http_adapters.get(key.name)


def digest(stored: EnvironmentObject) -> bytes:
    """Return a fingerprint: equal for equal objects, and without their values."""
    return hashlib.sha256(msgspec.json.encode(stored)).digest()
