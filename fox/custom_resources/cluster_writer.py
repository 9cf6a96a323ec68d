"""Writes finalizers, the status of resources and mirrors into the cluster."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from fox.custom_resources.cluster_objects import (
    ClusterObject,
    ResourceKey,
    allows,
    secret_unavailable,
    secrets_in,
)
from kubefox.custom_resources import FINALIZER, ResourceStatus
from kubefox.yaml_kinds import API_VERSION
from pods.kubernetes.api import Api, ApiError, Object
from pods.kubernetes.pace import Pace

WRITES_PER_S, BURST = 20.0, 40

_decode = msgspec.json.Decoder(ClusterObject).decode


class ClusterWriter:
    """Reads and writes objects of one namespace, at a limited pace.

    All methods raise ApiError if the API of the cluster refuses something, or is away. Those that
    write return the object as the API has it then.

    Args:
        api: The API of the cluster.
        namespace: The namespace.
        pace: Limits the writes, those on the platform included.
    """

    def __init__(self, api: Api, namespace: str, pace: Pace) -> None:
        self._api = api
        self._namespace = namespace
        self.pace = pace

    async def read_secret(self, key: ResourceKey, name: str) -> dict[str, str]:
        """Return the texts in the Secret of a resource; nothing if the name is empty.

        The Secret must name the resource in an annotation. Otherwise everybody who may create
        resources could read each Secret that the process may read.

        Raises:
            ResourceFault: There is no Secret that the resource may use, or it holds something else.
        """
        if not name:
            return {}
        path = f"/api/v1/namespaces/{self._namespace}/secrets/{name}"
        try:
            secret = await self._api.get(path)
        except ApiError as error:
            if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
                raise
            raise secret_unavailable(key, name) from error
        if not allows(secret, key):
            raise secret_unavailable(key, name)
        return secrets_in(name, secret)

    async def set_finalizer(
        self, key: ResourceKey, found: ClusterObject, *, is_set: bool
    ) -> ClusterObject:
        """Add the finalizer of the platform to a resource, or remove it."""
        if found.has_finalizer == is_set:
            return found
        others = [one for one in found.metadata.finalizers if one != FINALIZER]
        meta = {
            "finalizers": [*others, FINALIZER] if is_set else others,
            # The list is written as a whole: nobody must have changed it meanwhile.
            "resourceVersion": found.metadata.resource_version,
        }
        await self.pace.take()
        return _decode(await self._api.patch(self._path(key), {"metadata": meta}))

    async def write_status(
        self, key: ResourceKey, found: ClusterObject, status: ResourceStatus
    ) -> ClusterObject:
        """Write a status, if it is another one than the object has."""
        if status == found.status_of(key.kind):
            return found
        changes = {
            # Another object of its name must not get it.
            "metadata": {"uid": found.metadata.uid},
            "status": msgspec.to_builtins(status),
        }
        await self.pace.take()
        return _decode(await self._api.patch(f"{self._path(key)}/status", changes))

    async def write_mirror(
        self, key: ResourceKey, labels: dict[str, str], spec: Object
    ) -> ClusterObject:
        """Make a mirror show ``spec``; create it if it is missing."""
        manifest = {
            "apiVersion": API_VERSION,
            "kind": key.kind.kind,
            "metadata": {"name": key.name, "labels": labels},
            "spec": spec,
        }
        await self.pace.take()
        return _decode(await self._api.apply(self._path(key), manifest))

    async def delete_mirror(self, key: ResourceKey, found: ClusterObject) -> None:
        """Delete a mirror."""
        await self.pace.take()
        await self._api.delete(self._path(key), uid=found.metadata.uid)

    def _path(self, key: ResourceKey) -> str:
        return f"{key.kind.path(self._namespace)}/{key.name}"
