"""``fox rollback``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.options import Timeout, VirtualEnv, Wait
from fox.cli.support.output import Output, OutputOption
from fox.cli.support.release_outcome import show_outcome


def rollback(
    virtual_env: VirtualEnv,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="ID",
            help="Id of an archived release, see `fox get releases`.",
            show_default="drop the pending release, or restore the one before",
        ),
    ] = None,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Restore an earlier release of a virtual environment, with its variables and secrets.

    Without --to, a pending release is dropped and the active one stays; if none is pending, the
    release that was active before is restored. A second rollback therefore restores the later
    release again.
    """
    control = connect(control_url, data_dir)
    body = {} if to is None else {"release": to}
    document = control.post("v1", "releases", virtual_env, "rollback", body=body)
    wait_s = timeout_s if wait else None
    show_outcome(control, document, wait_s=wait_s, output=output, may_drop=to is None)
