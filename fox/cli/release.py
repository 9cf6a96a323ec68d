"""``fox release``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.completion import complete_deployment
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.options import Timeout, VirtualEnv, Wait
from fox.cli.output import Output, OutputOption
from fox.cli.releasing import finish


def release(
    selector: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="Its name, version, tag, branch or commit.",
            autocompletion=complete_deployment,
        ),
    ],
    virtual_env: VirtualEnv,
    app: Annotated[
        str | None, typer.Option("--app", metavar="NAME", help="The app, if several have such one.")
    ] = None,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let plain URLs of a virtual environment go to a deployment.

    The release is active once all its pods are ready. Other apps of the environment stay as they
    are.
    """
    control = connect(control_url, data_dir)
    body = {"selector": selector} if app is None else {"selector": selector, "app": app}
    answer = control.post("v1", "releases", virtual_env, body=body)
    finish(control, answer, wait_s=timeout_s if wait else None, output=output)
