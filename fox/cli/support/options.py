"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fox.cli.support.completion import (
    complete_deletable_kind,
    complete_deployment,
    complete_kind,
    complete_name,
    complete_virtual_environment,
)

AppDir = Annotated[
    Path | None,
    typer.Option(
        "--app",
        metavar="DIR",
        help="Folder of the app.",
        show_default="the current folder or one above",
    ),
]
DeploymentName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the deployment.", autocompletion=complete_deployment
    ),
]
KindName = Annotated[
    str,
    typer.Argument(metavar="KIND", help="Kind of the object.", autocompletion=complete_kind),
]
DeletableKindName = Annotated[
    str,
    typer.Argument(
        metavar="KIND", help="Kind of the object.", autocompletion=complete_deletable_kind
    ),
]
ObjectName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name or id of the object.", autocompletion=complete_name),
]
OptionalObjectName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Name or id of one object.",
        autocompletion=complete_name,
        show_default=False,
    ),
]
VirtualEnv = Annotated[
    str,
    typer.Option(
        "--virtual-env",
        metavar="NAME",
        help="Name of the virtual environment.",
        autocompletion=complete_virtual_environment,
    ),
]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        metavar="SECONDS",
        help="Time in which all new pods must be ready; after it, the change has failed.",
        show_default="FOX_ROLLOUT_DEADLINE_S of the platform",
        min=0,
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="Wait until all pods are ready and all processes know the change.",
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="Longest time to wait.", min=0)
]
