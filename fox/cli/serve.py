"""``fox serve``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from broker import settings
from fox.cli.up import ControlPort, HttpPort, NatsUrl, PlatformDir
from fox.platform import Role, run_serve


def serve(
    role: Annotated[Role, typer.Argument(help="The part.")],
    http_port: HttpPort = None,
    control_port: ControlPort = None,
    data_dir: PlatformDir = None,
    nats_url: NatsUrl = None,
) -> None:
    """Run one part of the platform, until Ctrl-C. The parts meet on the NATS of --nats-url."""
    loaded = settings.load(
        os.environ,
        http_port=http_port,
        control_port=control_port,
        data_dir=data_dir,
        nats_url=nats_url,
    )
    raise typer.Exit(run_serve(role, loaded))
