"""The apps and virtual environments that a request touches: its caller needs a role for each."""

from __future__ import annotations

from collections.abc import Iterable

from control.api.messages import (
    DeployRequest,
    PlanRequest,
    ReleaseRequest,
    RollbackRequest,
)
from control.api.operation import ApiRequest, ApiServices
from control.api.seen import target_of_letter
from control.deployment_selection import select_deployment
from kubefox.environment import VirtualEnvironment
from kubefox.grants import ALL, EVERYTHING, Target
from kubefox.release import Release, ReleasedApp, ReleaseState, rollback_target
from kubefox.scaling import ScaleChange
from kubefox.share import NewShare

Targets = Iterable[Target]


async def anything(_services: ApiServices, _request: ApiRequest) -> Targets:
    """Return no target: a role for any one is enough, and the answer shows what it covers."""
    return ()


async def everything(_services: ApiServices, _request: ApiRequest) -> Targets:
    """Return all apps in all virtual environments."""
    return (EVERYTHING,)


async def plan(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of a plan, and that of the deployment whose name it has."""
    wanted: PlanRequest = request.body
    return {Target(wanted.app), *_app_of(services, wanted.name)}


async def deployment(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the named deployment."""
    return _app_of(services, request.name)


async def live_deployment(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the named deployment, in each virtual environment that releases it."""
    return await _live(services, request.name)


async def deploy(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the new content, and what the deployment of that name touches."""
    wanted: DeployRequest = request.body
    return {Target(wanted.deployment.app), *await _live(services, request.name)}


async def environment(services: ApiServices, request: ApiRequest) -> Targets:
    """Return an environment, and the virtual environments that inherit its values."""
    members = (await services.control.store.usage()).members(request.name)
    return {Target(ALL, name) for name in (request.name, *members)}


async def virtual_environment(_services: ApiServices, request: ApiRequest) -> Targets:
    """Return the named environment or virtual environment."""
    return (Target(virtual_environment=request.name),)


async def put_virtual_environment(services: ApiServices, request: ApiRequest) -> Targets:
    """Return a virtual environment, and the environments whose secrets it has or will have."""
    wanted: VirtualEnvironment = request.body
    return {Target(ALL, wanted.environment), *_virtual(services, request.name)}


async def delete_virtual_environment(services: ApiServices, request: ApiRequest) -> Targets:
    """Return a virtual environment and its environment."""
    return _virtual(services, request.name)


async def release(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the apps whose deployments a release changes; a withdrawal changes all."""
    wanted: ReleaseRequest = request.body
    if wanted.selector:
        snapshot = services.control.store.snapshot
        chosen = select_deployment(snapshot, wanted.selector, wanted.app)
        return (Target(chosen.app, request.name),)
    state = _state(services, request.name)
    before: dict[str, ReleasedApp] = {}
    for current in (state.active, state.pending):
        before |= current.apps if current else {}
    after = wanted.apps or {}
    changed = {app for app in before | after if before.get(app) != after.get(app)}
    return _in(request.name, changed)


async def rollback(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the apps of the release that is dropped, or of both that change places."""
    wanted: RollbackRequest = request.body
    state = _state(services, request.name)
    if state.pending is not None and not wanted.release:
        return _of_releases(request.name, state.pending)
    restored = rollback_target(state, wanted.release or None)
    return _of_releases(request.name, state.active, state.pending, restored)


async def pending(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the apps of the pending release."""
    return _of_releases(request.name, _state(services, request.name).pending)


async def pod(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of a pod."""
    return (Target((await services.control.lists.pod(request.path["pod"])).app),)


async def dead_letter(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app and the virtual environment of a dead letter."""
    return (target_of_letter(await services.dead_letters.get(request.path["id"])),)


async def new_share(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the deployment, in the virtual environment of a new share."""
    wanted: NewShare = request.body
    return _shared(services, wanted.deployment, wanted.virtual_environment)


async def share(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the deployment, in the virtual environment of a share."""
    found = services.control.shares.get(request.name)
    return _shared(services, found.deployment, found.virtual_environment)


async def scale(services: ApiServices, request: ApiRequest) -> Targets:
    """Return the app of the component; without a deployment, every app that has one of its name."""
    wanted: ScaleChange = request.body
    if wanted.deployment:
        return _app_of(services, wanted.deployment)
    versions = services.control.store.snapshot.versions
    return {Target(version.app) for version in versions if version.component == wanted.component}


def _shared(services: ApiServices, deployment: str, virtual_environment: str) -> Targets:
    apps = [target.app for target in _app_of(services, deployment)]
    return _in(virtual_environment, apps)


def _app_of(services: ApiServices, name: str) -> Targets:
    found = services.control.store.snapshot.deployments.get(name)
    return () if found is None else (Target(found.app),)


async def _live(services: ApiServices, name: str) -> Targets:
    users = (await services.control.store.usage()).release_users(name)
    return {
        target._replace(virtual_environment=user)
        for target in _app_of(services, name)
        for user in (*users, "")
    }


def _virtual(services: ApiServices, name: str) -> Targets:
    found = services.control.store.snapshot.virtual_environments.get(name)
    names = (name,) if found is None else (name, found.environment)
    return {Target(ALL, each) for each in names}


def _state(services: ApiServices, name: str) -> ReleaseState:
    found = services.control.store.snapshot.releases.get(name)
    return found or ReleaseState(virtual_environment=name)


def _of_releases(virtual_environment: str, *releases: Release | None) -> Targets:
    return _in(virtual_environment, {app for each in releases if each for app in each.apps})


def _in(virtual_environment: str, apps: Iterable[str]) -> Targets:
    return {Target(app, virtual_environment) for app in apps} or {
        Target(virtual_environment=virtual_environment)
    }
