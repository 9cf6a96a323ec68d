"""``fox get``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import chain

import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import IDLE_VERSIONS, PODS, Kind, find_kind
from fox.cli.support.list_options import (
    AppFilter,
    CallerFilter,
    ComponentFilter,
    DeploymentFilter,
    EnvironmentFilter,
    Limit,
    OperationFilter,
    PrefixFilter,
    RunnerFilter,
    Sort,
    StateFilter,
    TargetFilter,
    VirtualEnvFilter,
)
from fox.cli.support.list_output import (
    ListOutput,
    ListOutputOption,
    document_format,
    print_list,
)
from fox.cli.support.objects import fetch_object
from fox.cli.support.options import KindName, OptionalObjectName
from fox.cli.support.output import to_text
from fox.cli.support.pages import pages


def get(
    kind: KindName,
    name: OptionalObjectName = None,
    limit: Limit = None,
    sort: Sort = None,
    prefix: PrefixFilter = None,
    app: AppFilter = None,
    component: ComponentFilter = None,
    deployment: DeploymentFilter = None,
    environment: EnvironmentFilter = None,
    virtual_env: VirtualEnvFilter = None,
    state: StateFilter = None,
    caller: CallerFilter = None,
    operation: OperationFilter = None,
    target: TargetFilter = None,
    runner: RunnerFilter = None,
    output: ListOutputOption = ListOutput.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List the objects of one kind, or show the one called NAME.

    Kinds: deployments (dep), pods, idle-versions (idle), releases, environments (env),
    virtual-environments (ve), http-adapters, dead-letters (dl), shares, audit-records (audit). The
    name of a release is its virtual environment; the name of a dead letter, a pod, a share or an
    audit record is its id; the name of an idle version is its component. An idle version is a
    component version whose pods were stopped; its next event starts one.

    The list is printed while it arrives. All of it shows one revision of the platform.
    """
    found = find_kind(kind)
    query = _query(
        found,
        {
            "prefix": prefix,
            "app": app,
            "component": component,
            "deployment": deployment,
            "environment": environment,
            "virtual-env": virtual_env,
            "state": state,
            "runner": runner,
            "caller": caller,
            "operation": operation,
            "target": target,
            "sort": sort,
        },
    )
    if name and (query or limit):
        raise typer.BadParameter("NAME shows one object: it cannot be used with options of lists")
    control = connect(control_url, data_dir)
    if name:
        _show_one(control, found, name, output)
    else:
        _list(control, found, query, limit, output)


def _query(kind: Kind, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the query of a list.

    Raises:
        BadParameter: The kind does not have an option that is given, or not this state.
    """
    known = {"sort": "sort", **dict(kind.filters)}
    query: dict[str, str] = {}
    for option, value in given.items():
        if value is None:
            continue
        if option not in known:
            options = ", ".join(f"--{name}" for name in known)
            raise typer.BadParameter(
                f"--{option} is not for {kind.plural_noun}: expected {options}"
            )
        if option == "state" and value not in kind.states:
            states = ", ".join(kind.states)
            raise typer.BadParameter(
                f"{value!r} is no state of {kind.plural_noun}: expected one of {states}",
                param_hint="--state",
            )
        query[known[option]] = value
    return query


def _show_one(control: ControlClient, kind: Kind, name: str, output: ListOutput) -> None:
    document = fetch_object(control, kind, name)
    for_programs = document_format(output)
    if for_programs is not None:
        sys.stdout.write(to_text(for_programs, document))
    else:
        print_list(kind, [[document]], output)


def _list(
    control: ControlClient,
    kind: Kind,
    query: Mapping[str, str],
    limit: int | None,
    output: ListOutput,
) -> None:
    print_list(kind, pages(control, kind.path, limit=limit, **query), output)
    if kind is PODS and not query and output in {ListOutput.TABLE, ListOutput.WIDE}:
        _print_idle_versions(control, output)


def _print_idle_versions(control: ControlClient, output: ListOutput) -> None:
    """Print the idle versions below the table of pods, if there are any."""
    found = pages(control, IDLE_VERSIONS.path)
    first = next(found)
    if first:
        sys.stdout.write("\n")
        print_list(IDLE_VERSIONS, chain([first], found), output)
