"""``fox up``."""

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
from fox.platform import run_up

NatsUrl = Annotated[
    str | None,
    typer.Option(
        "--nats-url",
        metavar="URL",
        help="NATS server or cluster.",
        show_default="an embedded server",
    ),
]


def up(
    http_port: HttpPort = None,
    control_port: ControlPort = None,
    data_dir: PlatformDir = None,
    nats_url: NatsUrl = None,
    nats_credentials: NatsCredentials = None,
    insecure_nats: InsecureNats = None,
    new_platform: NewPlatform = None,
    key_file: KeyFile = None,
) -> None:
    """Run the whole platform on this machine until Ctrl-C.

    Each option can also be set by a variable: FOX_HTTP_PORT, FOX_CONTROL_PORT, FOX_DATA_DIR,
    FOX_NATS_URL.
    """
    loaded = read_settings(
        http_port=http_port,
        control_port=control_port,
        data_dir=data_dir,
        nats_url=nats_url,
        nats_credentials=nats_credentials,
        insecure_nats=insecure_nats,
        new_platform=new_platform,
        key_file=key_file,
    )
    raise typer.Exit(run_up(loaded))
