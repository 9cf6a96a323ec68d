"""Records of the control plane with their keys, for the builders of tests."""

from __future__ import annotations

from collections.abc import Mapping

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Value
from kubefox.deployment import Deployment
from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.release import Release, ReleasedApp, ReleaseState


def component(
    app: str, definition: ComponentDefinition, digest: str
) -> tuple[str, ComponentVersion]:
    """Return a component version."""
    version = ComponentVersion(app=app, hash=digest, definition=definition)
    return records.component_key(app, definition.name, digest), version


def deployment(name: str, app: str, hashes: Mapping[str, str]) -> tuple[str, Deployment]:
    """Return a deployment of component versions, given by name and hash."""
    return records.deployment_key(name), Deployment(name=name, app=app, components=dict(hashes))


def virtual_environment(
    name: str, variables: Mapping[str, Value], environment: str = "dev"
) -> tuple[str, VirtualEnvironment]:
    """Return a virtual environment with variables."""
    data = EnvironmentData(vars=dict(variables))
    record = VirtualEnvironment(name=name, environment=environment, data=data)
    return records.virtual_environment_key(name), record


def active_release(
    virtual_environment: str,
    deployments: Mapping[str, str],
    *,
    release_id: str,
    manifest: str | None = None,
    requested_at_s: float = 1,
    activated_at_s: float = 1,
) -> tuple[str, ReleaseState]:
    """Return the state of a virtual environment with an active release.

    Args:
        virtual_environment: Name of the virtual environment.
        deployments: Name of the released deployment of each app.
        release_id: Id of the release.
        manifest: Id of its manifest; None for a live release.
        requested_at_s: Unix time.
        activated_at_s: Unix time.
    """
    release = Release(
        id=release_id,
        apps={app: ReleasedApp(deployment=name) for app, name in deployments.items()},
        manifest=manifest,
        requested_at_s=requested_at_s,
        activated_at_s=activated_at_s,
    )
    state = ReleaseState(virtual_environment=virtual_environment, active=release)
    return records.release_key(virtual_environment), state
