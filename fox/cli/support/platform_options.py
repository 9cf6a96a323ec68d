"""Options of the commands that start a platform, and the settings that they and variables give."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.runtime import settings
from broker.runtime.settings import Settings
from fox.source.tracked import refuse_tracked

HttpPort = Annotated[
    int | None,
    typer.Option(
        "--http-port",
        metavar="PORT",
        help="Port for the requests of end users.",
        show_default="8080",
    ),
]
ControlPort = Annotated[
    int | None,
    typer.Option(
        "--control-port", metavar="PORT", help="Port of the control API.", show_default="8081"
    ),
]
PlatformDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder for the platform's data and logs.",
        show_default=".kubefox",
    ),
]

KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="Key file of the platform, if it is not in the data folder.",
        show_default=False,
    ),
]
NatsCredentials = Annotated[
    str | None,
    typer.Option(
        "--nats-credentials",
        metavar="FILE",
        help="Key of the NATS account, or credentials of a user there.",
        show_default=False,
    ),
]
NewPlatform = Annotated[
    bool | None,
    typer.Option(
        "--new-platform",
        help="Begin a new platform on a NATS that has lost the records of this one.",
        show_default=False,
    ),
]
InsecureNats = Annotated[
    bool | None,
    typer.Option(
        "--insecure-nats",
        help="Accept a NATS server that lets anybody in, and give pods all rights there.",
        show_default=False,
    ),
]


def read_settings(**flags: object) -> Settings:
    """Return the settings from variables and flags; see ``settings.load``.

    A warning on standard error names each variable that is probably misspelt.

    Raises:
        InvalidRequest: Values are not valid, and the message names all of them; or the data folder
            is part of a Git repository.
    """
    for variable, meant in settings.find_misspelled(os.environ).items():
        sys.stderr.write(f"warning: {variable} is not a setting: did you mean {meant}?\n")
    loaded = settings.load(os.environ, **flags)
    refuse_tracked(loaded.data_dir)
    return loaded
