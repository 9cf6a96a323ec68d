"""What is wrong with an environment, virtual environment or HTTP adapter that is to be stored.

By itself, or because of what is released by its values.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping

from broker.control.contents import live_contents
from broker.control.secrets import EnvironmentObject
from model.component import Value
from model.environment import (
    Environment,
    HTTPAdapter,
    ReleasePolicy,
    VirtualEnvironment,
    overlay,
)
from model.errors import Problem
from model.release import Release
from routing.snapshot import Snapshot
from routing.validate import use_problems

MAX_DEADLINE_S = 7 * 24 * 3600
MAX_HISTORY = 100

_VALUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_URL = re.compile(r"(https?://|\{\{)\S+")


def object_problems(record: EnvironmentObject, environments: Container[str]) -> Iterator[Problem]:
    """Yield every problem of ``record``; ``environments`` are the names that there are."""
    if isinstance(record, HTTPAdapter):
        yield from _adapter_problems(record)
        return
    yield from _value_problems("data.vars", record.data.vars)
    yield from _value_problems("data.secrets", record.data.secrets)
    yield from _policy_problems(record.release_policy)
    if isinstance(record, VirtualEnvironment) and record.environment not in environments:
        yield Problem(
            type="EnvironmentNotFound",
            message=f"there is no environment {record.environment}",
            path="environment",
        )


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


def outage_problems(
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


def _over(record: EnvironmentObject, snapshot: Snapshot) -> Iterator[VirtualEnvironment]:
    """Yield the virtual environments, as they are, that have values of ``record``."""
    virtuals = snapshot.virtual_environments
    match record:
        case Environment():
            yield from (each for each in virtuals.values() if each.environment == record.name)
        case VirtualEnvironment() if record.name in virtuals:
            yield virtuals[record.name]


def _value_problems(path: str, values: Mapping[str, Value]) -> Iterator[Problem]:
    for name in values:
        if not _VALUE_NAME.fullmatch(name):
            yield Problem(
                type="InvalidName",
                message=f"{name!r} is not 1 to 128 letters, digits, '_' and '-'",
                path=f"{path}.{name}",
            )


def _policy_problems(policy: ReleasePolicy | None) -> Iterator[Problem]:
    if policy is None:
        return
    if not (0 < policy.activation_deadline_s <= MAX_DEADLINE_S):
        yield Problem(
            type="InvalidPolicy",
            message=f"expected a deadline above 0 s and of at most {MAX_DEADLINE_S} s",
            path="release_policy.activation_deadline_s",
        )
    # At least one: requests in flight on the release before still read its manifest.
    if not 1 <= policy.history_limit <= MAX_HISTORY:
        yield Problem(
            type="InvalidPolicy",
            message=f"expected a history of 1 to {MAX_HISTORY} releases",
            path="release_policy.history_limit",
        )


def _adapter_problems(adapter: HTTPAdapter) -> Iterator[Problem]:
    if not _URL.fullmatch(adapter.url):
        yield Problem(
            type="InvalidURL",
            message=f"expected http://…, https://… or a template, got {adapter.url!r}",
            path="url",
        )
