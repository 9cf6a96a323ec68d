"""``fox describe``."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.deployment_pods import idle_versions_of, pods_of
from fox.cli.support.kinds import (
    IDLE_VERSIONS,
    PODS,
    RELEASES,
    DeploymentStatus,
    Kind,
    find_kind,
)
from fox.cli.support.objects import fetch_object, print_records
from fox.cli.support.options import KindName, ObjectName
from fox.cli.support.output import Output, OutputOption, show, to_text
from fox.cli.support.pages import documents
from fox.cli.support.rollout_outcome import rolling_of
from fox.cli.support.times import show_time
from kubefox.deployment import Deployment
from kubefox.environment import VirtualEnvironment
from kubefox.release import ReleaseState

_SECONDS = "_s"
_UNIX_TIME = f"_at{_SECONDS}"


def describe(
    kind: KindName,
    name: ObjectName,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show one object in full, with the pods and releases that belong to it.

    The kinds are those of `fox get`. Times are UTC; with -o json and -o yaml they are Unix times.
    """
    found = find_kind(kind)
    control = connect(control_url, data_dir)
    record = found.record_of(fetch_object(control, found, name))
    related = {kind.path: records for kind, records in _related(control, record)}

    def print_text() -> None:
        sys.stdout.write(to_text(Output.YAML, _readable(msgspec.to_builtins(record))))
        for kind in (PODS, IDLE_VERSIONS, RELEASES):
            if related.get(kind.path):
                sys.stdout.write("\n")
                print_records(kind, related[kind.path])

    show(output, {"object": record, **related}, print_text)


def _related(control: ControlClient, record: Any) -> list[tuple[Kind, list[Any]]]:
    match record:
        case DeploymentStatus():
            return [
                (PODS, list(pods_of(control, *_contents(record)))),
                (IDLE_VERSIONS, list(idle_versions_of(control, record))),
                (RELEASES, _releases(control, record)),
            ]
        case VirtualEnvironment():
            state = RELEASES.record_of(control.get("v1", RELEASES.path, record.name))
            has_any = state != ReleaseState(virtual_environment=record.name)
            return [(RELEASES, [state] if has_any else [])]
        case _:
            return []


def _contents(deployment: DeploymentStatus) -> tuple[Deployment, ...]:
    """Return a deployment, and the content to which it is rolling out."""
    rollout = rolling_of(deployment)
    return (deployment,) if rollout is None else (deployment, rollout.target)


def _releases(control: ControlClient, deployment: Deployment) -> list[ReleaseState]:
    """Return the states with an active or pending release of a deployment, without history."""
    found = documents(control, RELEASES.path, deployment=deployment.name)
    states: list[ReleaseState] = RELEASES.records(found)
    return [msgspec.structs.replace(state, history=()) for state in states]


def _readable(value: Any) -> Any:
    """Return a value without its empty fields, and with ISO times, at any depth."""
    # msgspec returns the tuples of a struct as tuples.
    if isinstance(value, list | tuple):
        return [_readable(part) for part in value]
    if not isinstance(value, dict):
        return value
    fields = {key: _readable(field) for key, field in value.items()}
    return dict(
        _with_iso_time(key, field)
        for key, field in fields.items()
        if field not in (None, "", False, [], {})
    )


def _with_iso_time(key: str, value: Any) -> tuple[str, Any]:
    if key.endswith(_UNIX_TIME) and isinstance(value, int | float):
        return key.removesuffix(_SECONDS), show_time(value)
    return key, value
