"""Unused code, state and manifests, and the result of removing them."""

from __future__ import annotations

import msgspec


class UnusedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Code that neither a deployment nor a release's manifest uses.

    Attributes:
        hash: Content hash.
        components: ``<app>/<component>`` of each deployed version with this code.
        size_bytes: Size of its bundle, packed; 0 without a bundle.
    """

    hash: str
    components: tuple[str, ...]
    size_bytes: int


class UnusedState(msgspec.Struct, frozen=True, kw_only=True):
    """The state store's data of a deleted virtual environment.

    Attributes:
        virtual_environment: Its name.
        size_bytes: Size of the data as stored in NATS.
    """

    virtual_environment: str
    size_bytes: int


class UnusedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of a release that was aborted, secrets included.

    Attributes:
        virtual_environment: Name of the virtual environment.
        release: Id of the release.
    """

    virtual_environment: str
    release: str


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """The removed objects, or those that a removal would remove.

    Attributes:
        versions: Code, with its records.
        states: Data of the state store.
        manifests: Manifests of releases.
        left: How many unused objects remain; another pruning removes them.
    """

    versions: tuple[UnusedVersion, ...] = ()
    states: tuple[UnusedState, ...] = ()
    manifests: tuple[UnusedManifest, ...] = ()
    left: int = 0
