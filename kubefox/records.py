"""The control plane's records and their keys in the KV bucket.

================================  ====================================
``platform.keys``                 KeyRing
``past.<key>.<revision>``         PastRecord: an earlier content of the record under ``<key>``
``component.<app>.<name>.<hash>`` ComponentVersion
``deployment.<name>``             Deployment
``environment.<name>``            Environment
``virtual-environment.<name>``    VirtualEnvironment
``http-adapter.<name>``           HTTPAdapter
``manifest.<ve>.<release>``       ReleaseManifest
``release.<ve>``                  ReleaseState
``rollout.<deployment>``          RolloutState
``scale.<app>.<component>``       ScaleOverride for all deployments
``scale.<app>.<component>.<dep>`` ScaleOverride for one deployment
``share.<name>``                  Share
================================  ====================================

Values are JSON, so that an operator can read them with ``nats kv get``. The secrets in them are
encrypted, see ``broker.storage.sealed_records``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from kubefox.component import ComponentVersion
from kubefox.decoding import DECODE_ERRORS
from kubefox.deployment import Deployment
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment
from kubefox.errors import InvalidEvent
from kubefox.release import ReleaseManifest, ReleaseState
from kubefox.rollout import RolloutState
from kubefox.scaling import ScaleOverride
from kubefox.share import Share

Record = (
    ComponentVersion
    | Deployment
    | Environment
    | VirtualEnvironment
    | HTTPAdapter
    | ReleaseManifest
    | ReleaseState
    | RolloutState
    | ScaleOverride
    | Share
)

KINDS: dict[str, type[Record]] = {
    "component": ComponentVersion,
    "deployment": Deployment,
    "environment": Environment,
    "virtual-environment": VirtualEnvironment,
    "http-adapter": HTTPAdapter,
    "manifest": ReleaseManifest,
    "release": ReleaseState,
    "rollout": RolloutState,
    "scale": ScaleOverride,
    "share": Share,
}


PLATFORM_KEYS = "platform.keys"
"""Key of the KeyRing."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the control plane's data, as a watcher receives it.

    Attributes:
        key: KV key.
        revision: KV revision; increases with every change of any key.
        record: New content, or None if the key was deleted.
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


def rollout_key(deployment: str) -> str:
    """Return the key of a RolloutState."""
    return f"rollout.{deployment}"


def scale_key(app: str, component: str, deployment: str = "") -> str:
    """Return the key of a ScaleOverride; without a deployment, that for all of them."""
    return f"scale.{app}.{component}.{deployment}" if deployment else f"scale.{app}.{component}"


def share_key(name: str) -> str:
    """Return the key of a Share."""
    return f"share.{name}"


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
        InvalidEvent: The kind of the key is unknown, or the value is not of that kind.
    """
    try:
        record: Record = _DECODERS[key.partition(".")[0]](value)
    except KeyError as error:
        raise InvalidEvent(f"KV key {key} is of an unknown kind") from error
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"KV key {key} cannot be read: {error}") from error
    return record
