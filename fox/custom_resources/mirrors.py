"""Shows deployments and release manifests of the platform as resources that nobody else writes."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from control.control_plane import ControlPlane
from fox.custom_resources.attempts import Attempts
from fox.custom_resources.cluster_objects import ClusterObject, ResourceKey
from fox.custom_resources.cluster_writer import ClusterWriter
from fox.custom_resources.conditions import READY, SYNCED, Verdict, with_conditions
from kubefox.custom_resources import (
    APP_DEPLOYMENT,
    RELEASE_MANIFEST,
    AppDeploymentSpec,
    DeploymentSource,
    ManifestApp,
    ReleaseManifestSpec,
)
from kubefox.deployment import Deployment
from kubefox.records import deployment_key, manifest_key
from kubefox.release import Release, ReleaseManifest, ReleaseState, manifests_in_use
from kubefox.rollout import Rollout, RolloutPhase
from pods.kubernetes.api import Object
from routing.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

MANAGED = {"app.kubernetes.io/managed-by": "kubefox"}
_RELEASE_ID_LENGTH = 24
_MIRRORED = Verdict(True, "Mirrored")


class Visit(NamedTuple):
    """The state of a mirror after a visit.

    Attributes:
        found: Its state in the cluster; None if it is gone.
        again_s: Time after which to look again; None if nothing but a change needs that.
        is_foreign: Whether it shows what the platform does not have, because of others.
    """

    found: ClusterObject | None
    again_s: float | None = None
    is_foreign: bool = False


class _Mirror(NamedTuple):
    spec: Object
    ready: Verdict
    revision: int


class Mirrors:
    """Writes the mirrors.

    Args:
        control: Has the deployments and manifests.
        writer: Writes into the cluster.
        put_backs: Counts the changes of others that are undone.
    """

    def __init__(self, control: ControlPlane, writer: ClusterWriter, put_backs: Attempts) -> None:
        self._control = control
        self._writer = writer
        self._put_backs = put_backs
        self._written: dict[ResourceKey, Object] = {}

    async def visit(self, key: ResourceKey, found: ClusterObject | None) -> Visit:
        """Make a mirror show what the platform has; remove it if that is gone.

        Args:
            key: The mirror.
            found: Its state in the cluster, or None.

        Raises:
            ApiError: The API of the cluster refuses something, or is away.
        """
        wanted = _mirror_of(key, self._control.store.snapshot)
        if wanted is None:
            return await self._remove(key, found)
        if found is None or not _shows(found, wanted.spec):
            if self._written.get(key) == wanted.spec:
                if again_s := self._put_backs.wait_s(key):
                    return Visit(found, again_s, is_foreign=True)
                logger.warning("%s was changed by others: it is written again", key)
            found = await self._write(key, wanted.spec)
        return Visit(await self._write_status(key, found, wanted))

    async def _remove(self, key: ResourceKey, found: ClusterObject | None) -> Visit:
        self._written.pop(key, None)
        if found is None:
            self._put_backs.forget(key)
        if found is None or found.is_leaving:
            return Visit(found)
        if not _is_ours(found):
            return Visit(found, is_foreign=True)
        await self._writer.delete_mirror(key, found)
        return Visit(None)

    async def _write(self, key: ResourceKey, spec: Object) -> ClusterObject:
        found = await self._writer.write_mirror(key, MANAGED, spec)
        self._written[key] = spec
        return found

    async def _write_status(
        self, key: ResourceKey, found: ClusterObject, wanted: _Mirror
    ) -> ClusterObject:
        status = with_conditions(
            found.status_of(key.kind),
            found.metadata.generation,
            {SYNCED: _MIRRORED, READY: wanted.ready},
            datetime.datetime.now(datetime.UTC),
            revision=wanted.revision,
        )
        return await self._writer.write_status(key, found, status)


def mirrors_of(record: str, snapshot: Snapshot) -> Iterable[ResourceKey]:
    """Return the mirrors that show a record."""
    kind, _, name = record.partition(".")
    match kind:
        case "deployment" | "rollout":
            return (ResourceKey(APP_DEPLOYMENT, name),)
        case "manifest":
            return (_manifest(*name.split(".")),)
        case "release":
            state = snapshot.releases.get(name)
            used = manifests_in_use(state) if state is not None else ()
            return [_manifest(name, release) for release in used]
        case _:
            return ()


def all_mirrors(snapshot: Snapshot) -> Iterator[ResourceKey]:
    """Yield the mirrors of all deployments and manifests."""
    for name in snapshot.deployments:
        yield ResourceKey(APP_DEPLOYMENT, name)
    for key in snapshot.records.manifests:
        yield _manifest(*key.split("."))


def _manifest(virtual_environment: str, release: str) -> ResourceKey:
    return ResourceKey(RELEASE_MANIFEST, f"{virtual_environment}-{release}")


def _mirror_of(key: ResourceKey, snapshot: Snapshot) -> _Mirror | None:
    """Return what a mirror is to show; None if the platform has nothing of its name."""
    if key.kind is APP_DEPLOYMENT:
        deployment = snapshot.deployments.get(key.name)
        if deployment is None:
            return None
        state = snapshot.rollouts.get(key.name)
        ready = _deployed(state.rollout if state is not None else None)
        spec = msgspec.to_builtins(_deployment_spec(deployment))
        return _Mirror(spec, ready, snapshot.revision_of(deployment_key(key.name)))
    # An id has a fixed length; the name of the virtual environment may have dashes as well.
    release = key.name[-_RELEASE_ID_LENGTH:]
    name = key.name[: -_RELEASE_ID_LENGTH - 1]
    manifest = snapshot.manifest(name, release)
    if manifest is None or _manifest(name, release) != key:
        return None
    spec = msgspec.to_builtins(_manifest_spec(manifest))
    revision = snapshot.revision_of(manifest_key(name, release))
    return _Mirror(spec, _released(snapshot.releases.get(name), release), revision)


def _deployment_spec(deployment: Deployment) -> AppDeploymentSpec:
    return AppDeploymentSpec(
        app=deployment.app,
        version=deployment.version or "",
        title=deployment.title,
        generation=deployment.generation,
        components=deployment.components,
        source=DeploymentSource(**msgspec.structs.asdict(deployment.source)),
    )


def _manifest_spec(manifest: ReleaseManifest) -> ReleaseManifestSpec:
    return ReleaseManifestSpec(
        virtual_environment=manifest.virtual_environment,
        release=manifest.id,
        apps={
            app: ManifestApp(app_deployment=deployment.name, version=deployment.version or "")
            for app, deployment in manifest.deployments.items()
        },
    )


def _deployed(rollout: Rollout | None) -> Verdict:
    """Return whether requests meet what was deployed last."""
    if rollout is None:
        return Verdict(True, "Deployed")
    problems = "; ".join(problem.message for problem in rollout.problems)
    message = f"generation {rollout.target.generation} is {rollout.phase.value}"
    return Verdict(False, _PHASES[rollout.phase], f"{message}: {problems}" if problems else message)


_PHASES = {
    RolloutPhase.ROLLING: "RollingOut",
    RolloutPhase.FAILED: "RolloutFailed",
    RolloutPhase.ABORTED: "RolloutAborted",
}


def _released(state: ReleaseState | None, manifest: str) -> Verdict:
    """Return whether a manifest is that of the active release."""
    if state is not None and _has(state.active, manifest):
        return Verdict(True, "Active")
    if state is not None and _has(state.pending, manifest):
        return Verdict(False, "Pending")
    return Verdict(False, "Archived")


def _has(release: Release | None, manifest: str) -> bool:
    return release is not None and release.manifest == manifest


def _shows(found: ClusterObject, spec: Object) -> bool:
    return _is_ours(found) and bool(found.spec == spec)


def _is_ours(found: ClusterObject) -> bool:
    return MANAGED.items() <= found.metadata.labels.items()
