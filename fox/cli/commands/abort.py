"""``fox abort``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.completion import complete_deployment, complete_virtual_environment
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.kinds import DEPLOYMENTS
from fox.cli.support.output import Output, OutputOption
from fox.cli.support.release_outcome import show_outcome as show_release
from fox.cli.support.rollout_outcome import show_outcome as show_rollout


def abort(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Name of a deployment that is rolling.",
            show_default=False,
            autocompletion=complete_deployment,
        ),
    ] = None,
    virtual_env: Annotated[
        str | None,
        typer.Option(
            "--virtual-env",
            metavar="NAME",
            help="Name of a virtual environment with a pending release.",
            autocompletion=complete_virtual_environment,
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Drop a change that is not live yet: the rollout of NAME, or a pending release.

    Requests are served as before.
    """
    if (name is None) == (virtual_env is None):
        raise typer.BadParameter("expected either the NAME of a deployment, or --virtual-env")
    control = connect(control_url, data_dir)
    if name is not None:
        document = control.post("v1", DEPLOYMENTS.path, name, "abort", body={})
        show_rollout(control, document, wait_s=None, output=output)
    else:
        document = control.post("v1", "releases", virtual_env or "", "abort", body={})
        show_release(control, document, wait_s=None, output=output, may_drop=True)
