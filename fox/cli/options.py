"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fox.cli.completion import complete_virtual_environment

AppDir = Annotated[
    Path | None,
    typer.Option(
        "--app", metavar="DIR", help="The app's folder.", show_default="this one or one above"
    ),
]
VirtualEnv = Annotated[
    str,
    typer.Option(
        "--virtual-env",
        metavar="NAME",
        help="The virtual environment.",
        autocompletion=complete_virtual_environment,
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is ready.")]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait.", min=0)
]
