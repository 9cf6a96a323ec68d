"""Brings the platform to what a resource says, by the functions that ``fox apply`` uses."""

from __future__ import annotations

import datetime
import logging
import random
from typing import NamedTuple

import msgspec

from control.control_plane import ControlPlane
from control.secret_masks import EnvironmentObject
from fox.custom_resources.attempts import Attempts
from fox.custom_resources.audit import ResourceAudit
from fox.custom_resources.cluster_objects import (
    RECORDS,
    ClusterObject,
    ResourceFault,
    ResourceKey,
    read_fields,
    read_manifest,
    secret_name,
)
from fox.custom_resources.cluster_writer import ClusterWriter
from fox.custom_resources.conditions import APPLIED, Verdict, verdict_of, verdicts, with_conditions
from fox.custom_resources.readiness import readiness
from fox.custom_resources.records import digest, needed_records, record_key, stored_object
from kubefox.custom_resources import (
    ENVIRONMENT,
    ResourceStatus,
    VirtualEnvironmentStatus,
)
from kubefox.errors import FoxError, InUse, NotFound, RevisionConflict, Unavailable
from kubefox.records import release_key
from kubefox.release import ReleasedApp, ReleaseState
from kubefox.yaml_objects import Manifest

logger = logging.getLogger(__name__)

SECRET_S = 60.0
"""How often a Secret is read again."""
PUT_BACKS, PUT_BACK_S = 3, 600.0
"""How often, in which time, an object is applied again that others have changed."""


class Outcome(NamedTuple):
    """The outcome of applying a resource.

    Attributes:
        found: Its state in the cluster.
        status: Its new status.
        is_synced: Whether the platform is as the resource says.
        again_s: Time after which it is looked at again; None if nothing but a change needs that.
        wakes: Keys or kinds of records whose change may help.
    """

    found: ClusterObject
    status: ResourceStatus
    is_synced: bool
    again_s: float | None = None
    wakes: frozenset[str] = frozenset()


class Applier:
    """Applies and deletes resources.

    Args:
        control: Validates and executes changes.
        audit: Records them.
        writer: Writes into the cluster.
        put_backs: Counts the changes of others that are undone.
    """

    def __init__(
        self,
        control: ControlPlane,
        audit: ResourceAudit,
        writer: ClusterWriter,
        put_backs: Attempts,
    ) -> None:
        self._control = control
        self._audit = audit
        self._writer = writer
        self._put_backs = put_backs
        self._applied: dict[ResourceKey, tuple[str, int, bytes]] = {}

    async def apply(self, key: ResourceKey, found: ClusterObject) -> Outcome:
        """Apply a resource, and return its new status.

        Raises:
            ApiError: The API of the cluster refuses something, or is away.
            Unavailable: The platform cannot change anything now.
            RevisionConflict: Other writers were faster, for long.
        """
        try:
            fields = read_fields(key, found)
        except ResourceFault as fault:
            return self._failed(key, found, Verdict(False, fault.reason, str(fault)))
        wakes = needed_records(fields)
        try:
            secrets = await self._writer.read_secret(key, secret_name(fields))
            manifest = read_manifest(key.name, fields, secrets)
            found = await self._take(key, found, manifest)
            released = await self._release(key, found, manifest)
        except ResourceFault as fault:
            verdict = Verdict(False, fault.reason, str(fault))
            return self._failed(key, found, verdict, wakes, fault.again_s)
        except (Unavailable, RevisionConflict):
            raise
        except FoxError as error:
            return self._failed(key, found, verdict_of(error), wakes)
        again_s = SECRET_S * random.uniform(0.8, 1) if secret_name(fields) else None  # noqa: S311
        status, ready = self._released_status(key, found, manifest, released)
        return Outcome(found, self._status(key, found, status, APPLIED, ready), True, again_s)

    async def delete(self, key: ResourceKey, found: ClusterObject) -> Outcome | None:
        """Delete the object of a resource that is being deleted, and let the resource go.

        Returns:
            None if it may go; its status if the object is in use.

        Raises:
            ApiError: See ``apply``.
            Unavailable: See ``apply``.
            RevisionConflict: See ``apply``.
        """
        if not found.has_finalizer:
            return None
        try:
            await self._delete_object(key, found)
        except InUse as error:
            used_by = "virtual-environment" if key.kind is ENVIRONMENT else release_key(key.name)
            return self._failed(key, found, verdict_of(error), frozenset({used_by}))
        await self._writer.set_finalizer(key, found, is_set=False)
        return None

    def forget(self, key: ResourceKey) -> None:
        """Forget a resource that is gone."""
        self._applied.pop(key, None)
        self._put_backs.forget(key)
        self._audit.forget(key)

    async def _take(
        self, key: ResourceKey, found: ClusterObject, manifest: Manifest
    ) -> ClusterObject:
        """Store the object of a resource, and have the resource stay until it is deleted.

        The object of a resource that was never applied is not deleted with it.
        """
        is_new = self._stored(key) is None
        if is_new:
            found = await self._writer.set_finalizer(key, found, is_set=True)
        await self._put(key, found, manifest)
        return await self._writer.set_finalizer(key, found, is_set=True)

    async def _put(self, key: ResourceKey, found: ClusterObject, manifest: Manifest) -> None:
        wanted = manifest.object
        if self._stored(key) == wanted:
            return
        applied = found.metadata.uid, found.metadata.generation, digest(wanted)
        if self._applied.get(key) == applied:
            self._count_put_back(key)
        await self._writer.pace.take()
        put = self._control.environments.put
        await self._audit.change("PUT", key, found, lambda: put(wanted, force=found.is_forced))
        self._applied[key] = applied
        logger.info("%s: generation %d is applied", key, found.metadata.generation)

    def _count_put_back(self, key: ResourceKey) -> None:
        """Note that an object is applied again that others have changed.

        Raises:
            ResourceFault: That was so too often.
        """
        if again_s := self._put_backs.wait_s(key):
            raise ResourceFault(
                "ChangedOutside",
                f"others change this object on the platform again and again: {PUT_BACKS} changes "
                f"were undone within {PUT_BACK_S / 60:g} minutes. End them, or delete the resource",
                again_s,
            )
        logger.warning("%s was changed by others: the resource is applied again", key)

    async def _release(self, key: ResourceKey, found: ClusterObject, manifest: Manifest) -> int:
        """Request the release of a resource once; return the generation that was requested last."""
        status = found.status_of(key.kind)
        done = status.released_generation if isinstance(status, VirtualEnvironmentStatus) else 0
        apps = manifest.release
        if apps is None or done == found.metadata.generation:
            return done
        await self._writer.pace.take()
        request = self._control.releases.request_apps
        if not self._is_released(key.name, apps):
            await self._audit.change("POST", key, found, lambda: request(key.name, apps))
        return found.metadata.generation

    def _is_released(self, name: str, apps: dict[str, ReleasedApp]) -> bool:
        state = self._release_state(name)
        return not apps and state.active is None and state.pending is None

    def _released_status(
        self, key: ResourceKey, found: ClusterObject, manifest: Manifest, released: int
    ) -> tuple[ResourceStatus, Verdict]:
        """Return the status with the releases, and whether that of the resource is active."""
        status = found.status_of(key.kind)
        if not isinstance(status, VirtualEnvironmentStatus):
            return status, APPLIED
        state = self._release_state(key.name)
        status = msgspec.structs.replace(
            status,
            released_generation=released,
            active_release=state.active.id if state.active else "",
            pending_release=state.pending.id if state.pending else "",
        )
        return status, readiness(state, manifest.release)

    async def _delete_object(self, key: ResourceKey, found: ClusterObject) -> None:
        if self._stored(key) is None:
            return
        await self._writer.pace.take()
        kind, delete = RECORDS[key.kind], self._control.environments.delete
        try:
            await self._audit.change(
                "DELETE", key, found, lambda: delete(kind, key.name, force=found.is_forced)
            )
        except NotFound:
            return
        await self._control.shares.try_remove_ended()
        logger.info("%s is deleted", key)

    def _failed(
        self,
        key: ResourceKey,
        found: ClusterObject,
        verdict: Verdict,
        wakes: frozenset[str] = frozenset(),
        again_s: float | None = None,
    ) -> Outcome:
        status = found.status_of(key.kind)
        status = self._status(key, found, status, verdict, verdict)
        return Outcome(found, status, False, again_s, wakes)

    def _status(
        self,
        key: ResourceKey,
        found: ClusterObject,
        status: ResourceStatus,
        synced: Verdict,
        ready: Verdict,
    ) -> ResourceStatus:
        return with_conditions(
            status,
            found.metadata.generation,
            verdicts(synced=synced, ready=ready),
            datetime.datetime.now(datetime.UTC),
            revision=self._revision(key),
        )

    def _stored(self, key: ResourceKey) -> EnvironmentObject | None:
        return stored_object(key, self._control.store.snapshot)

    def _revision(self, key: ResourceKey) -> int:
        return self._control.store.snapshot.revision_of(record_key(key))

    def _release_state(self, name: str) -> ReleaseState:
        found = self._control.store.snapshot.releases.get(name)
        return found or ReleaseState(virtual_environment=name)
