"""``fox serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.read_settings import read_settings
from fox.cli.up import ControlPort, HttpPort, PlatformDir
from fox.platform import Role, run_serve
from fox.workers import run_workers

NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats-url", metavar="URL", help="NATS to use; it has to be named.", show_default=False
    ),
]


def serve(
    role: Annotated[Role, typer.Argument(metavar="http|adapters|control", help="The part.")],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Processes of http, which share the port.", min=1
        ),
    ] = None,
    http_port: HttpPort = None,
    control_port: ControlPort = None,
    data_dir: PlatformDir = None,
    nats_url: NatsUrl = None,
) -> None:
    """Run one part of the platform, until Ctrl-C. The parts meet on the NATS of --nats-url.

    http takes requests; adapters are the state store, the clock and what delivers events; control
    answers commands and runs the pods. Each option can be set by a variable too, as for `fox up`.
    """
    if workers is not None and role is not Role.HTTP:
        raise typer.BadParameter("only http has --workers")
    loaded = read_settings(
        http_workers=workers,
        http_port=http_port,
        control_port=control_port,
        data_dir=data_dir,
        nats_url=nats_url,
    )
    if role is Role.HTTP and loaded.http_workers > 1:
        raise typer.Exit(run_workers(loaded))
    raise typer.Exit(run_serve(role, loaded))
