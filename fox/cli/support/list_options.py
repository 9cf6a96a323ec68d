"""The options of lists: their order, their length, and the filters of every kind."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.completion import (
    complete_component,
    complete_deployment,
    complete_environment,
    complete_state,
    complete_virtual_environment,
)

Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", help="List this many objects at most.", min=1),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="FIELD",
        help="Sort by this field: name; created for deployments and pods; app. "
        "-FIELD sorts descending.",
    ),
]
PrefixFilter = Annotated[
    str | None,
    typer.Option("--prefix", metavar="TEXT", help="List objects whose names begin with this."),
]
AppFilter = Annotated[
    str | None, typer.Option("--app", metavar="NAME", help="List objects of this app.")
]
ComponentFilter = Annotated[
    str | None,
    typer.Option(
        "--component",
        metavar="NAME",
        help="List objects of this component.",
        autocompletion=complete_component,
    ),
]
DeploymentFilter = Annotated[
    str | None,
    typer.Option(
        "--deployment",
        metavar="NAME",
        help="List objects of this deployment.",
        autocompletion=complete_deployment,
    ),
]
EnvironmentFilter = Annotated[
    str | None,
    typer.Option(
        "--environment",
        metavar="NAME",
        help="List objects of this environment.",
        autocompletion=complete_environment,
    ),
]
VirtualEnvFilter = Annotated[
    str | None,
    typer.Option(
        "--virtual-env",
        metavar="NAME",
        help="List dead letters or shares of this virtual environment.",
        autocompletion=complete_virtual_environment,
    ),
]
StateFilter = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="List deployments in this state, pods in this phase, releases that are active or "
        "pending, or audit records with this decision.",
        autocompletion=complete_state,
    ),
]
CallerFilter = Annotated[
    str | None,
    typer.Option("--caller", metavar="NAME", help="List audit records of this caller."),
]
OperationFilter = Annotated[
    str | None,
    typer.Option(
        "--operation",
        metavar="TEXT",
        help="List audit records of operations that contain this, such as `PUT /v1/deploy`.",
    ),
]
TargetFilter = Annotated[
    str | None,
    typer.Option("--target", metavar="TEXT", help="List audit records of paths that contain this."),
]
RunnerFilter = Annotated[
    str | None,
    typer.Option("--runner", metavar="NAME", help="List pods of this pod runner."),
]
