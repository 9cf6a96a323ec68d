"""``fox rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.options import Timeout, VirtualEnv, Wait
from fox.cli.output import Output, OutputOption
from fox.cli.releasing import finish


def rollback(
    virtual_env: VirtualEnv,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ID",
            help="An archived release, see `fox get releases`.",
            show_default="the one that was active before",
        ),
    ] = None,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Go back to an earlier release of a virtual environment, with its variables and secrets.

    Without --to that is the release that was active before this one, so a second time goes forward
    again.
    """
    control = connect(control_url, data_dir)
    body = {} if to is None else {"release": to}
    answer = control.post("v1", "releases", virtual_env, "rollback", body=body)
    finish(control, answer, wait_s=timeout_s if wait else None, output=output)
