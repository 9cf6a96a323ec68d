"""``fox undo``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.completion import complete_generation
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.kinds import DEPLOYMENTS
from fox.cli.support.options import Deadline, DeploymentName, Timeout, Wait
from fox.cli.support.output import Output, OutputOption
from fox.cli.support.rollout_outcome import show_outcome


def undo(
    name: DeploymentName,
    to: Annotated[
        int | None,
        typer.Option(
            "--to",
            metavar="N",
            help="Number of the generation, see `fox history`.",
            show_default="the generation before",
            autocompletion=complete_generation,
        ),
    ] = None,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    deadline_s: Deadline = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Restore an earlier generation of a deployment, as a new one, when its pods are ready.

    Without --to, a rollout that is still rolling is dropped; if there is none, the generation
    before the current one is restored. A second undo therefore restores the later one again.
    """
    control = connect(control_url, data_dir)
    body = {"generation": to, "deadline_s": deadline_s}
    document = control.post("v1", DEPLOYMENTS.path, name, "undo", body=body)
    show_outcome(control, document, wait_s=timeout_s if wait else None, output=output)
