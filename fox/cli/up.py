"""``fox up``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fox.cli.read_settings import read_settings
from fox.platform import run_up

HttpPort = Annotated[
    int | None,
    typer.Option("--http-port", metavar="PORT", help="Where requests go.", show_default="8080"),
]
ControlPort = Annotated[
    int | None,
    typer.Option("--control-port", metavar="PORT", help="Where commands go.", show_default="8081"),
]
NatsUrl = Annotated[
    str | None,
    typer.Option("--nats-url", metavar="URL", help="NATS to use.", show_default="one of its own"),
]
PlatformDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Where everything is kept.", show_default=".kubefox"
    ),
]


def up(
    http_port: HttpPort = None,
    control_port: ControlPort = None,
    data_dir: PlatformDir = None,
    nats_url: NatsUrl = None,
) -> None:
    """Run the whole platform on this machine, until Ctrl-C.

    Each option can be set by a variable too: FOX_HTTP_PORT, FOX_CONTROL_PORT, FOX_DATA_DIR,
    FOX_NATS_URL.
    """
    loaded = read_settings(
        http_port=http_port,
        control_port=control_port,
        data_dir=data_dir,
        nats_url=nats_url,
    )
    raise typer.Exit(run_up(loaded))
