"""What a release stands for: the deployments, values and HTTP adapters that it would serve.

Pure: a Stable release freezes its contents in a manifest, a Testing release reads them live.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from model.component import short
from model.deployment import Deployment
from model.distill import Version, versions_in_use
from model.environment import (
    EnvironmentData,
    HTTPAdapter,
    PolicyType,
    ReleasePolicy,
    overlay,
    policy_of,
)
from model.errors import EnvironmentNotFound, Problem, ReleaseNotFound
from model.release import Release, ReleasedApp, ReleaseManifest
from routing.snapshot import Snapshot


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a release serves.

    Attributes:
        deployments: By app.
        data: Overlaid variables and secrets.
        adapters: HTTP adapters by name.
    """

    deployments: dict[str, Deployment]
    data: EnvironmentData
    adapters: dict[str, HTTPAdapter]

    def freeze(self, virtual_environment: str, release_id: str) -> ReleaseManifest:
        """Return the manifest that keeps these contents."""
        return ReleaseManifest(
            id=release_id,
            virtual_environment=virtual_environment,
            deployments=self.deployments,
            data=self.data,
            adapters=self.adapters,
        )

    @property
    def versions(self) -> frozenset[Version]:
        """Every component version that must be ready."""
        return versions_in_use(self.deployments.values())


def policy_in_force(snapshot: Snapshot, virtual_environment: str) -> ReleasePolicy:
    """Return the release policy of a virtual environment.

    Raises:
        EnvironmentNotFound: It, or the environment below it, does not exist.
    """
    virtual = snapshot.virtual_environments.get(virtual_environment)
    if virtual is None:
        raise EnvironmentNotFound(f"there is no virtual environment {virtual_environment}")
    environment = snapshot.environments.get(virtual.environment)
    if environment is None:
        raise EnvironmentNotFound(f"there is no environment {virtual.environment}")
    return policy_of(environment, virtual)


def live_contents(
    snapshot: Snapshot, virtual_environment: str, apps: Mapping[str, ReleasedApp]
) -> Contents:
    """Return what ``apps`` would serve by the data of this moment; see ``app_problems`` too.

    Raises:
        EnvironmentNotFound: The virtual environment, or the environment below it, is missing.
    """
    policy_in_force(snapshot, virtual_environment)
    virtual = snapshot.virtual_environments[virtual_environment]
    return Contents(
        deployments={
            app: snapshot.deployments[released.deployment]
            for app, released in apps.items()
            if released.deployment in snapshot.deployments
        },
        data=overlay(snapshot.environments[virtual.environment], virtual),
        adapters=dict(snapshot.http_adapters),
    )


def contents_of(snapshot: Snapshot, virtual_environment: str, release: Release) -> Contents:
    """Return what a release serves: frozen in its manifest, or live.

    Raises:
        EnvironmentNotFound: As ``live_contents``.
        ReleaseNotFound: Its manifest is missing; what it froze is not what is live now.
    """
    if release.manifest is None:
        return live_contents(snapshot, virtual_environment, release.apps)
    manifest = snapshot.manifest(virtual_environment, release.manifest)
    if manifest is None:
        raise ReleaseNotFound(f"the manifest of release {release.id} is missing")
    return Contents(
        deployments=manifest.deployments, data=manifest.data, adapters=manifest.adapters
    )


def app_problems(
    apps: Mapping[str, ReleasedApp], contents: Contents, policy: ReleasePolicy
) -> Iterator[Problem]:
    """Yield what is wrong with the choice of deployments itself."""
    for app, released in sorted(apps.items()):
        deployment = contents.deployments.get(app)
        path = f"apps.{app}"
        if deployment is None:
            yield Problem(
                type="DeploymentNotFound",
                message=f"there is no deployment {released.deployment}",
                path=f"{path}.deployment",
            )
        elif deployment.app != app:
            yield Problem(
                type="AppMismatch",
                message=f"deployment {deployment.name} belongs to app {deployment.app}",
                path=f"{path}.deployment",
            )
        elif released.version == "":
            yield Problem(
                type="InvalidVersion",
                message="the version is empty: name one, or leave it out",
                path=f"{path}.version",
            )
        elif released.version is not None and released.version != deployment.version:
            has = f"version {deployment.version}" if deployment.version else "no version"
            yield Problem(
                type="VersionMismatch",
                message=f"deployment {deployment.name} has {has}, "
                f"and version {released.version} was asked for",
                path=f"{path}.version",
            )
        elif policy.type is PolicyType.STABLE and deployment.version is None:
            yield Problem(
                type="VersionRequired",
                message=f"deployment {deployment.name} has no version, and a Stable release "
                "needs one: deploy with --version",
                path=f"{path}.version",
            )


def readiness_problems(contents: Contents, ready: frozenset[Version]) -> Iterator[Problem]:
    """Yield each component version of which no pod is ready."""
    for app, component, digest in sorted(contents.versions - ready):
        yield Problem(
            type="PodNotReady",
            message=f"no pod of {component}@{short(digest)} is ready",
            path=f"apps.{app}.components.{component}",
        )
