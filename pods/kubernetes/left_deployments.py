"""Deployments of an earlier process that are to stay as they are when this process takes over.

A Deployment is up to date if it was written from the manifest that this process would write, which
an annotation says, and nobody has changed any of the fields since. Both are needed: others may have
changed a field, and a newer manifest may leave one out.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from pods.kubernetes.api import Object
from pods.kubernetes.foreign_changes import ClusterDeployment, DeploymentMeta

DIGEST = "kubefox.io/manifest"
"""Annotation of a Deployment: the digest of the manifest that it was written from."""

SALT = "kubefox.io/login-salt"
"""Annotation of a Deployment: the salt of its version, see ``pods.logins``."""

_DIGEST_CHARACTERS = 32


class _Spec(msgspec.Struct, frozen=True):
    replicas: int = 1


_decode_spec = msgspec.json.Decoder(_Spec).decode
_decode_object = msgspec.json.Decoder(Object).decode


class LeftDeployment:
    """A Deployment of an earlier process.

    Args:
        found: The Deployment, whose spec is taken out of it.

    Attributes:
        replicas: How many pods it has.
    """

    def __init__(self, found: ClusterDeployment) -> None:
        self._metadata: DeploymentMeta = found.metadata
        self._spec = found.take_spec()
        self.replicas = _decode_spec(self._spec).replicas

    @property
    def generation(self) -> int:
        """Its generation."""
        return self._metadata.generation

    @property
    def salt(self) -> str:
        """The salt of its version; empty if it has none."""
        return self._metadata.annotations.get(SALT, "")

    def is_up_to_date(self, manifest: Object) -> bool:
        """Return whether it is as if ``manifest`` had been applied now, its number of pods apart.

        Args:
            manifest: A result of ``annotated``.
        """
        if self._metadata.annotations.get(DIGEST) != manifest["metadata"]["annotations"][DIGEST]:
            return False
        wanted = {**manifest["spec"], "replicas": self.replicas}
        return _contains(_decode_object(self._spec), wanted)


def annotated(manifest: Object, issuer: str, salt: str) -> Object:
    """Return the manifest of a Deployment with the annotations that a later process reads.

    Args:
        manifest: The Deployment without annotations.
        issuer: Of the logins in its Secret: another one needs another Secret.
        salt: Salt of its version.
    """
    spec = {name: value for name, value in manifest["spec"].items() if name != "replicas"}
    content = msgspec.json.encode([spec, manifest["metadata"], issuer], order="deterministic")
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]
    metadata = {**manifest["metadata"], "annotations": {DIGEST: digest, SALT: salt}}
    return {**manifest, "metadata": metadata}


def _contains(found: Any, wanted: Any) -> bool:
    """Return whether all fields of ``wanted`` are in ``found``; the API adds its defaults."""
    match wanted:
        case dict():
            return isinstance(found, dict) and all(
                # The API leaves empty fields out.
                _contains(found[name], value) if name in found else not value
                for name, value in wanted.items()
            )
        case list():
            is_as_long = isinstance(found, list) and len(found) == len(wanted)
            return is_as_long and all(map(_contains, found, wanted))
        case _:
            return bool(found == wanted)
