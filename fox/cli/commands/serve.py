"""``fox serve``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.platform_options import (
    ControlPort,
    HttpPort,
    InsecureNats,
    KeyFile,
    NatsCredentials,
    NewPlatform,
    PlatformDir,
    read_settings,
)
from fox.platform import Role, run_serve
from fox.workers import run_http

NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats-url",
        metavar="URL",
        help="NATS server or cluster; required, here or as FOX_NATS_URL.",
        show_default=False,
    ),
]


def serve(
    role: Annotated[
        Role, typer.Argument(metavar="http|adapters|control|pods", help="Part of the platform.")
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Number of processes that share the port; for http only.",
            min=1,
        ),
    ] = None,
    take_over: Annotated[
        bool | None,
        typer.Option(
            "--take-over",
            help="Take the port over from a running `fox serve http`, which then drains and ends; "
            "for http only.",
            show_default=False,
        ),
    ] = None,
    http_port: HttpPort = None,
    control_port: ControlPort = None,
    data_dir: PlatformDir = None,
    key_file: KeyFile = None,
    nats_url: NatsUrl = None,
    nats_credentials: NatsCredentials = None,
    insecure_nats: InsecureNats = None,
    new_platform: NewPlatform = None,
) -> None:
    """Run one part of the platform until Ctrl-C. The parts are connected by NATS.

    http accepts the requests of end users. adapters runs the state store, schedules and the
    delivery of emitted events. control serves the control API. pods runs a pod of each component
    version; several of them, each with a data folder of its own, run replicas. Each option can
    also be set by a variable, as for `fox up`.
    """
    if workers is not None and role is not Role.HTTP:
        raise typer.BadParameter("--workers is for http only")
    if take_over and role is not Role.HTTP:
        raise typer.BadParameter("--take-over is for http only")
    loaded = read_settings(
        http_workers=workers,
        http_take_over=take_over,
        http_port=http_port,
        control_port=control_port,
        data_dir=data_dir,
        key_file=key_file,
        nats_url=nats_url,
        nats_credentials=nats_credentials,
        insecure_nats=insecure_nats,
        new_platform=new_platform,
    )
    if role is Role.HTTP:
        raise typer.Exit(run_http(loaded))
    raise typer.Exit(run_serve(role, loaded))
