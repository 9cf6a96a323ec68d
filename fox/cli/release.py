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
    virtual_env: VirtualEnv,
    selector: Annotated[
        str | None,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="Its name, version, tag, branch or commit.",
            show_default=False,
            autocompletion=complete_deployment,
        ),
    ] = None,
    app: Annotated[
        str | None, typer.Option("--app", metavar="NAME", help="The app, if several have such one.")
    ] = None,
    is_none: Annotated[
        bool, typer.Option("--none", help="Withdraw what is released: plain URLs go nowhere.")
    ] = False,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let plain URLs of a virtual environment go to a deployment.

    The release is active once all its pods are ready. Other apps of the environment stay as they
    are. `--none` takes all of them away; their pods and explicit URLs stay.
    """
    body = _request(selector, app, is_none=is_none)
    control = connect(control_url, data_dir)
    answer = control.post("v1", "releases", virtual_env, body=body)
    finish(control, answer, wait_s=timeout_s if wait else None, output=output)


def _request(selector: str | None, app: str | None, *, is_none: bool) -> dict[str, object]:
    if is_none:
        if selector is not None or app is not None:
            raise typer.BadParameter("--none withdraws every app: it takes no DEPLOYMENT, no --app")
        return {"apps": {}}
    if selector is None:
        raise typer.BadParameter("expected a DEPLOYMENT, or --none")
    return {"selector": selector} if app is None else {"selector": selector, "app": app}
