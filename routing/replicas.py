"""The limits of replicas that apply to each component version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubefox.component import ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.scaling import Replicas, Scale, ScaleOverride, enough_for_all, replicas_of
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex


def replicas_of_versions(
    versions: Iterable[Version], usage: UsageIndex, default: Replicas
) -> dict[Version, Replicas]:
    """Return the limits of each version.

    Deployments share the pods of a version. If they have different overrides, the version gets
    enough for each of them.

    Args:
        versions: The versions.
        usage: Of the snapshot with the definitions of the versions, and the overrides.
        default: The platform's default.
    """
    snapshot = usage.snapshot
    result: dict[Version, Replicas] = {}
    for version in versions:
        found = snapshot.component(*version)
        layers = (_declared(found), _override(version, snapshot))
        overrides = overrides_of(version, usage)
        needs = [replicas_of((*layers, override.scale), default) for override in overrides]
        # The deployments without an override of their own, if there is one.
        if snapshot.uses.get(version, 0) > _live(version, overrides, snapshot) or not needs:
            needs.append(replicas_of(layers, default))
        result[version] = enough_for_all(needs)
    return result


def overrides_of(version: Version, usage: UsageIndex) -> list[ScaleOverride]:
    """Return the overrides that apply to a version, of those for single deployments.

    Such an override applies to the versions that the deployment has: live, rolling out and frozen
    in releases. Its cost is proportional to the releases of the deployments with an override.
    """
    app, component, digest = version
    return [
        usage.snapshot.scales[f"{app}.{component}.{name}"]
        for name in sorted(usage.overridden(app, component))
        if any(
            deployment.app == app and deployment.components.get(component) == digest
            for deployment in _deployments(name, usage)
        )
    ]


def applies(override: ScaleOverride, usage: UsageIndex) -> bool:
    """Return whether an override for a single deployment applies to any version."""
    return any(
        deployment.app == override.app and override.component in deployment.components
        for deployment in _deployments(override.deployment, usage)
    )


def _declared(version: ComponentVersion | None) -> Scale | None:
    return None if version is None else version.definition.scale


def _override(version: Version, snapshot: Snapshot) -> Scale | None:
    override = snapshot.scales.get(f"{version.app}.{version.component}")
    return None if override is None else override.scale


def _deployments(name: str, usage: UsageIndex) -> Iterator[Deployment]:
    """Yield the deployments of a name: live, rolling out and frozen in releases."""
    snapshot = usage.snapshot
    if name in snapshot.deployments:
        yield snapshot.deployments[name]
    rollouts = snapshot.rollouts.get(name)
    if rollouts is not None and rollouts.rolling is not None:
        yield rollouts.rolling.target
    for virtual_environment in usage.release_users(name):
        state = snapshot.releases[virtual_environment]
        for release in (state.active, state.pending):
            if release is not None and release.manifest is not None:
                manifest = snapshot.manifest(virtual_environment, release.manifest)
                frozen = manifest.deployments.values() if manifest is not None else ()
                yield from (deployment for deployment in frozen if deployment.name == name)


def _live(version: Version, overrides: Iterable[ScaleOverride], snapshot: Snapshot) -> int:
    """Return how many live deployments use a version and have an override for it."""
    live = (snapshot.deployments.get(override.deployment) for override in overrides)
    return sum(
        1
        for deployment in live
        if deployment is not None and deployment.components.get(version.component) == version.hash
    )
