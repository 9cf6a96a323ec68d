"""``fox describe``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import msgspec
import typer

from fox.cli.client import Control
from fox.cli.completion import complete_name
from fox.cli.get import KindArgument, fetch, print_table
from fox.cli.kinds import PODS, RELEASES, SLEEPERS, Kind, find_kind
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show, to_text
from fox.cli.pods import pods_of, sleepers_of
from model.deployment import Deployment
from model.environment import VirtualEnvironment
from model.release import ReleaseState


def describe(
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_name)],
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show one object in full, with the pods and releases that belong to it."""
    wanted = find_kind(kind)
    control = connect(control_url, data_dir)
    record = wanted.record_of(fetch(control, wanted, name))
    related = {each.path: found for each, found in _related(control, record)}

    def as_table() -> None:
        sys.stdout.write(to_text(Output.YAML, _filled(msgspec.to_builtins(record))))
        for each in (PODS, SLEEPERS, RELEASES):
            if related.get(each.path):
                sys.stdout.write("\n")
                print_table(each, related[each.path])

    show(output, {"object": record, **related}, as_table)


def _related(control: Control, record: Any) -> list[tuple[Kind, list[Any]]]:
    match record:
        case Deployment():
            return [
                (PODS, list(pods_of(control, record))),
                (SLEEPERS, list(sleepers_of(control, record))),
                (RELEASES, _releases(control, record)),
            ]
        case VirtualEnvironment():
            states: list[ReleaseState] = RELEASES.records(control.get("v1", "releases"))
            return [
                (RELEASES, [each for each in states if each.virtual_environment == record.name])
            ]
        case _:
            return []


def _releases(control: Control, deployment: Deployment) -> list[ReleaseState]:
    """Return the states, without their history, in which plain URLs go or may go to it."""
    states: list[ReleaseState] = RELEASES.records(control.get("v1", "releases"))
    return [
        msgspec.structs.replace(state, history=())
        for state in states
        for release in (state.active, state.pending)
        if release is not None
        and any(each.deployment == deployment.name for each in release.apps.values())
    ]


def _filled(value: Any) -> Any:
    """Return a value with only those of its fields, at any depth, that say something."""
    if not isinstance(value, dict):
        return value
    filled = {key: _filled(each) for key, each in value.items()}
    return {key: each for key, each in filled.items() if each not in (None, "", False, [], {})}
