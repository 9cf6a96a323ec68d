"""The contents of a release: the deployments, values and HTTP adapters that it serves.

Pure. A Stable release freezes its contents in a manifest, a Testing release reads them live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from kubefox.component import short
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.environment import (
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    overlay,
    policy_of,
)
from kubefox.errors import EnvironmentNotFound, Problem, ReleaseNotFound
from kubefox.release import Release, ReleasedApp, ReleaseManifest
from routing.snapshot.snapshot import Snapshot


class ReleaseContents(msgspec.Struct, frozen=True, kw_only=True):
    """The deployments, values and HTTP adapters of a release.

    Attributes:
        deployments: Deployments by app.
        data: Variables and secrets of the virtual environment, over those of its environment.
        adapters: HTTP adapters by name.
    """

    deployments: dict[str, Deployment]
    data: EnvironmentData
    adapters: dict[str, HTTPAdapter]

    def freeze(self, virtual_environment: str, release_id: str) -> ReleaseManifest:
        """Return a manifest of these contents."""
        return ReleaseManifest(
            id=release_id,
            virtual_environment=virtual_environment,
            deployments=self.deployments,
            data=self.data,
            adapters=self.adapters,
        )

    @property
    def versions(self) -> frozenset[Version]:
        """The component versions of all deployments."""
        return versions_in_use(self.deployments.values())


def policy_in_force(snapshot: Snapshot, virtual_environment: str) -> ReleasePolicy:
    """Return the release policy of a virtual environment.

    Raises:
        EnvironmentNotFound: It or its environment does not exist.
    """
    virtual = snapshot.virtual_environments.get(virtual_environment)
    if virtual is None:
        raise EnvironmentNotFound(f"virtual environment {virtual_environment} does not exist")
    environment = snapshot.environments.get(virtual.environment)
    if environment is None:
        raise EnvironmentNotFound(
            f"environment {virtual.environment} of virtual environment {virtual_environment} "
            "does not exist"
        )
    return policy_of(environment, virtual)


def live_contents(
    snapshot: Snapshot, virtual_environment: str, apps: Mapping[str, ReleasedApp]
) -> ReleaseContents:
    """Return the contents that ``apps`` have with current data.

    Deployments that do not exist are left out; ``app_problems`` reports them.

    Raises:
        EnvironmentNotFound: The virtual environment or its environment does not exist.
    """
    policy_in_force(snapshot, virtual_environment)
    virtual = snapshot.virtual_environments[virtual_environment]
    return ReleaseContents(
        deployments={
            app: snapshot.deployments[released.deployment]
            for app, released in apps.items()
            if released.deployment in snapshot.deployments
        },
        data=overlay(snapshot.environments[virtual.environment], virtual),
        adapters=dict(snapshot.http_adapters),
    )


def contents_of(snapshot: Snapshot, virtual_environment: str, release: Release) -> ReleaseContents:
    """Return the contents of a release: those of its manifest, or the live ones without a manifest.

    Raises:
        EnvironmentNotFound: The virtual environment or its environment does not exist.
        ReleaseNotFound: Its manifest is missing. Live contents are not used in its place.
    """
    if release.manifest is None:
        return live_contents(snapshot, virtual_environment, release.apps)
    manifest = snapshot.manifest(virtual_environment, release.manifest)
    if manifest is None:
        raise ReleaseNotFound(
            f"the manifest of release {release.id} in {virtual_environment} is missing: "
            "release its deployments again"
        )
    return ReleaseContents(
        deployments=manifest.deployments, data=manifest.data, adapters=manifest.adapters
    )


def app_problems(
    apps: Mapping[str, ReleasedApp], contents: ReleaseContents, policy: ReleasePolicy
) -> Iterator[Problem]:
    """Yield the problems of the chosen deployments and versions."""
    for app, released in sorted(apps.items()):
        deployment = contents.deployments.get(app)
        path = f"apps.{app}"
        if deployment is None:
            yield Problem(
                type="DeploymentNotFound",
                message=f"deployment {released.deployment} does not exist",
                path=f"{path}.deployment",
            )
        elif deployment.app != app:
            yield Problem(
                type="AppMismatch",
                message=f"deployment {deployment.name} belongs to app {deployment.app}, "
                f"not to {app}",
                path=f"{path}.deployment",
            )
        elif released.version == "":
            yield Problem(
                type="InvalidVersion",
                message="the version is empty: give a version, or omit the field",
                path=f"{path}.version",
            )
        elif released.version is not None and released.version != deployment.version:
            has = f"version {deployment.version}" if deployment.version else "no version"
            yield Problem(
                type="VersionMismatch",
                message=f"deployment {deployment.name} has {has}, "
                f"but version {released.version} is requested",
                path=f"{path}.version",
            )
        elif policy.type is PolicyType.STABLE and deployment.version is None:
            yield Problem(
                type="VersionRequired",
                message=f"deployment {deployment.name} has no version, and a Stable release "
                "needs one: deploy it with --version",
                path=f"{path}.version",
            )


def readiness_problems(contents: ReleaseContents, ready: AbstractSet[Version]) -> Iterator[Problem]:
    """Yield a problem for each component version without a ready pod."""
    # A difference of sets would walk over all ready versions.
    missing = (version for version in contents.versions if version not in ready)
    for app, component, digest in sorted(missing):
        yield Problem(
            type="PodNotReady",
            message=f"no pod of {component}@{short(digest)} is ready",
            path=f"apps.{app}.components.{component}",
        )
