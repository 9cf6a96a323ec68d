"""The control plane's records: what lies under which key of the KV bucket.

================================  ====================================
``platform.<name>``               platform-wide settings (not watched)
``component.<app>.<name>.<hash>`` ComponentVersion
``deployment.<name>``             Deployment
``environment.<name>``            Environment
``virtual-environment.<name>``    VirtualEnvironment
``http-adapter.<name>``           HTTPAdapter
``manifest.<ve>.<release>``       ReleaseManifest
``release.<ve>``                  ReleaseState
================================  ====================================

Values are JSON, so that ``nats kv get`` shows them to an operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from model.component import ComponentVersion
from model.decoding import UNREADABLE
from model.deployment import Deployment
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.errors import InvalidEvent
from model.release import ReleaseManifest, ReleaseState

Record = (
    ComponentVersion
    | Deployment
    | Environment
    | VirtualEnvironment
    | HTTPAdapter
    | ReleaseManifest
    | ReleaseState
)

KINDS: dict[str, type[Record]] = {
    "component": ComponentVersion,
    "deployment": Deployment,
    "environment": Environment,
    "virtual-environment": VirtualEnvironment,
    "http-adapter": HTTPAdapter,
    "manifest": ReleaseManifest,
    "release": ReleaseState,
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the control plane's data, as a watcher sees it.

    Attributes:
        key: KV key.
        revision: KV revision; grows with every change of any key.
        record: New content, or None when the key was deleted.
    """

    key: str
    revision: int
    record: Record | None


def component_key(app: str, name: str, digest: str) -> str:
    """Return the key of a ComponentVersion."""
    return f"component.{app}.{name}.{digest}"


def deployment_key(name: str) -> str:
    """Return the key of a Deployment."""
    return f"deployment.{name}"


def environment_key(name: str) -> str:
    """Return the key of an Environment."""
    return f"environment.{name}"


def virtual_environment_key(name: str) -> str:
    """Return the key of a VirtualEnvironment."""
    return f"virtual-environment.{name}"


def http_adapter_key(name: str) -> str:
    """Return the key of an HTTPAdapter."""
    return f"http-adapter.{name}"


def manifest_key(virtual_environment: str, release: str) -> str:
    """Return the key of a ReleaseManifest."""
    return f"manifest.{virtual_environment}.{release}"


def release_key(virtual_environment: str) -> str:
    """Return the key of a ReleaseState."""
    return f"release.{virtual_environment}"


def kind_of(key: str) -> str:
    """Return the kind of a key: its first token."""
    return key.partition(".")[0]


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    kind: msgspec.json.Decoder(record).decode for kind, record in KINDS.items()
}
encode = msgspec.json.Encoder().encode


def decode(key: str, value: bytes) -> Record:
    """Return the record stored under ``key``.

    Raises:
        InvalidEvent: The key has no known kind, or the value is not of that kind.
    """
    try:
        record: Record = _DECODERS[kind_of(key)](value)
    except KeyError as error:
        raise InvalidEvent(f"KV key {key} has no known kind") from error
    except UNREADABLE as error:
        raise InvalidEvent(f"KV key {key} cannot be read: {error}") from error
    return record
