"""What would take an active release of policy Testing off plain URLs, for it is served live.

By a change of values, or of code. Only what the change adds is told, for the rest is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.control.contents import live_contents
from broker.control.secrets import EnvironmentObject
from model.deployment import Deployment
from model.environment import Environment, VirtualEnvironment, overlay
from model.errors import Problem
from model.release import Release
from routing.active import definitions_of
from routing.snapshot import Snapshot
from routing.validate import Definitions, use_problems, value_problems


def live_releases(
    record: EnvironmentObject, snapshot: Snapshot
) -> Iterator[tuple[VirtualEnvironment, Release]]:
    """Yield each active release that live values of ``record`` are in, and where it is."""
    for virtual in _over(record, snapshot):
        state = snapshot.releases.get(virtual.name)
        active = state.active if state is not None else None
        is_whole = virtual.environment in snapshot.environments
        if active is not None and active.manifest is None and is_whole:
            yield virtual, active


def outages_by_values(
    record: EnvironmentObject, virtual: VirtualEnvironment, release: Release, snapshot: Snapshot
) -> Iterator[Problem]:
    """Yield what of a live release could not be used any more once ``record`` is stored.

    Args:
        record: New content of the virtual environment, or of the environment below it.
        virtual: The virtual environment as it is.
        release: Its active release.
        snapshot: The control plane's data, which holds both environments.
    """
    contents = live_contents(snapshot, virtual.name, release.apps)
    environment = snapshot.environments[virtual.environment]
    data = overlay(
        record if isinstance(record, Environment) else environment,
        record if isinstance(record, VirtualEnvironment) else virtual,
    )
    before = use_problems(contents.deployments, contents.data.vars, snapshot)
    known = {(each.type, each.path) for each in before}
    for each in use_problems(contents.deployments, data.vars, snapshot):
        if (each.type, each.path) not in known:
            path = f"releases.{virtual.name}.{each.path}"
            yield Problem(type=each.type, message=each.message, path=path)


def outages_by_code(
    deployment: Deployment, definitions: Definitions, snapshot: Snapshot
) -> Iterator[list[Problem]]:
    """Yield what of a deployment could not be used any more, for each place where it is live.

    There may be many, and the rules are compiled for each: others should have their turn between.

    Args:
        deployment: As it is to be.
        definitions: Of its components, by name.
        snapshot: The control plane's data, with the deployment that it replaces.
    """
    replaced = snapshot.deployments.get(deployment.name)
    if replaced is None:
        return
    before, _ = definitions_of(replaced, snapshot.records)
    for virtual, environment in _where_released(deployment.name, snapshot):
        values = overlay(environment, virtual).vars
        known = {(each.type, each.path) for each in value_problems(before, values)}
        yield [
            Problem(
                type=each.type, message=each.message, path=f"releases.{virtual.name}.{each.path}"
            )
            for each in value_problems(definitions, values)
            if (each.type, each.path) not in known
        ]


def _where_released(
    deployment: str, snapshot: Snapshot
) -> Iterator[tuple[VirtualEnvironment, Environment]]:
    """Yield where a deployment is active by live values, and what that lies over."""
    for name, state in sorted(snapshot.releases.items()):
        active, virtual = state.active, snapshot.virtual_environments.get(name)
        if active is None or active.manifest is not None or virtual is None:
            continue
        environment = snapshot.environments.get(virtual.environment)
        named = {each.deployment for each in active.apps.values()}
        if environment is not None and deployment in named:
            yield virtual, environment


def _over(record: EnvironmentObject, snapshot: Snapshot) -> Iterator[VirtualEnvironment]:
    """Yield the virtual environments, as they are, that have values of ``record``."""
    virtuals = snapshot.virtual_environments
    match record:
        case Environment():
            yield from (each for each in virtuals.values() if each.environment == record.name)
        case VirtualEnvironment() if record.name in virtuals:
            yield virtuals[record.name]
