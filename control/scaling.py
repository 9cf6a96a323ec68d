"""Limits of replicas: shows those of each component version, and writes overrides."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence

from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from control.listing.pacing import SLICE_RECORDS
from control.stored_record import StoredRecord, load
from control.transactions import OptimisticTransaction, in_transaction
from kubefox.component import ComponentDefinition
from kubefox.distill import Version
from kubefox.errors import DeploymentNotFound, InvalidRequest, NotFound
from kubefox.pod import PodPhase
from kubefox.records import scale_key
from kubefox.scaling import (
    Replicas,
    Scale,
    ScaleChange,
    ScaleOverride,
    VersionScale,
    fault_of,
    merged,
)
from routing.replicas import applies, overrides_of, replicas_of_versions
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex


class Scaling:
    """Shows limits of replicas, and writes overrides.

    Args:
        store: The control plane's data.
        board: Status of the pods.
        transaction: The transaction of this process.
        default: The platform's default limits.
    """

    def __init__(
        self,
        store: Store,
        board: PodBoard,
        *,
        transaction: OptimisticTransaction,
        default: Replicas,
    ) -> None:
        self._store = store
        self._board = board
        self._transaction = transaction
        self._default = default

    async def scales_of(self, versions: Sequence[Version]) -> list[VersionScale]:
        """Return the replicas of component versions that a deployment uses or a pod runs."""
        found: list[VersionScale] = []
        for start in range(0, len(versions), SLICE_RECORDS):
            usage = await self._store.usage()
            found += self._scales_of(versions[start : start + SLICE_RECORDS], usage)
            await asyncio.sleep(0)
        return found

    def _scales_of(
        self, versions: Collection[Version], usage: UsageIndex
    ) -> Iterator[VersionScale]:
        limits = replicas_of_versions(versions, usage, self._default)
        overrides = _shown_overrides(versions, usage)
        for version in versions:
            pods = self._board.pods_of(version)
            definition = _definition(version, usage.snapshot)
            yield VersionScale(
                app=version.app,
                component=version.component,
                hash=version.hash,
                limits=limits[version],
                declared=None if definition is None else definition.scale,
                overrides=overrides[version],
                pods=len(pods),
                ready=sum(pod.phase is PodPhase.READY for pod in pods),
                is_idle=version in self._board.idle_marks,
                concurrency=None if definition is None else definition.concurrency,
                memory_mib=None if definition is None else definition.memory_mib,
                open_files=None if definition is None else definition.open_files,
                processes=None if definition is None else definition.processes,
            )

    @in_transaction
    async def change(self, change: ScaleChange) -> ScaleOverride | None:
        """Write or remove an override, and return what is left of it.

        Raises:
            InvalidRequest: The limits are not possible, or the component is in several apps.
            DeploymentNotFound: There is no such deployment.
            NotFound: There is no such component.
        """
        if fault := fault_of(change.scale):
            raise InvalidRequest(f"the scale of {change.component} is not valid: {fault}")
        app = _app_of(change, self._store.snapshot)
        key = scale_key(app, change.component, change.deployment)
        found = await load(self._store, key, ScaleOverride)
        scale = merged(
            Scale() if found is None or change.reset else found.object.scale, change.scale
        )
        if fault := fault_of(scale):
            raise InvalidRequest(
                f"with its present override, the scale of {change.component} is not valid: {fault}"
            )
        if scale == Scale():
            await self._remove(key, found)
            return None
        override = ScaleOverride(
            app=app, component=change.component, deployment=change.deployment, scale=scale
        )
        return (await self._transaction.write(key, override, found)).object

    async def _remove(self, key: str, found: StoredRecord[ScaleOverride] | None) -> None:
        if found is not None:
            await self._transaction.delete(key)


def _shown_overrides(
    versions: Collection[Version], usage: UsageIndex
) -> dict[Version, tuple[ScaleOverride, ...]]:
    """Return the overrides to show with each version.

    An override for a deployment is shown with the versions to which it applies. If there are none,
    because the deployment was removed, it is shown with all versions of the component.
    """
    by_component: dict[tuple[str, str], list[ScaleOverride]] = {}
    for _, override in sorted(usage.snapshot.scales.items()):
        by_component.setdefault((override.app, override.component), []).append(override)
    applying = {version: overrides_of(version, usage) for version in versions}
    shown = {(version.app, version.component) for version in versions}
    used = {
        override
        for component in shown
        for override in by_component.get(component, ())
        if override.deployment and applies(override, usage)
    }
    return {
        version: tuple(
            override
            for override in by_component.get((version.app, version.component), ())
            if override not in used or override in applying[version]
        )
        for version in versions
    }


def _definition(version: Version, snapshot: Snapshot) -> ComponentDefinition | None:
    found = snapshot.component(*version)
    return None if found is None else found.definition


def _app_of(change: ScaleChange, snapshot: Snapshot) -> str:
    """Return the app of the component that a change names."""
    component = change.component
    if change.deployment:
        deployment = snapshot.deployments.get(change.deployment)
        if deployment is None:
            raise DeploymentNotFound(f"deployment {change.deployment} does not exist")
        if component not in deployment.components:
            names = ", ".join(sorted(deployment.components))
            raise NotFound(
                f"deployment {deployment.name} has no component {component}: expected {names}"
            )
        return deployment.app
    apps = sorted({version.app for version in snapshot.versions if version.component == component})
    if not apps:
        raise NotFound(f"no deployment has a component {component}: see `fox scale`")
    if len(apps) > 1:
        raise InvalidRequest(
            f"component {component} is in the apps {', '.join(apps)}: name a deployment, as in "
            f"DEPLOYMENT/{component}"
        )
    return apps[0]
