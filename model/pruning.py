"""What nothing names any more, and what was done about it."""

from __future__ import annotations

import msgspec


class UnusedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Code that neither a deployment nor a release's manifest names.

    Attributes:
        hash: Content hash.
        components: ``<app>/<component>`` of each version that has this code, if it was deployed.
        size_bytes: Of its bundle, packed; 0 if there is none.
    """

    hash: str
    components: tuple[str, ...]
    size_bytes: int


class UnusedState(msgspec.Struct, frozen=True, kw_only=True):
    """The state store's data of a virtual environment that does not exist.

    Attributes:
        virtual_environment: Its name.
        size_bytes: As it lies in NATS.
    """

    virtual_environment: str
    size_bytes: int


class UnusedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a release froze that was broken off before anything named it, secrets included.

    Attributes:
        virtual_environment: Whose release it was to be.
        release: Id of the release.
    """

    virtual_environment: str
    release: str


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed, or what would be.

    Attributes:
        versions: Code, with its records.
        states: Data.
        manifests: Of releases.
        left: How many more there are: they go by asking again.
    """

    versions: tuple[UnusedVersion, ...] = ()
    states: tuple[UnusedState, ...] = ()
    manifests: tuple[UnusedManifest, ...] = ()
    left: int = 0
