"""``fox release``."""

from __future__ import annotations

from typing import Annotated

import typer

from fox.cli.support.completion import complete_deployment
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.options import Timeout, VirtualEnv, Wait
from fox.cli.support.output import Output, OutputOption
from fox.cli.support.release_outcome import show_outcome


def release(
    virtual_env: VirtualEnv,
    selector: Annotated[
        str | None,
        typer.Argument(
            metavar="DEPLOYMENT",
            help="Name, version, tag, branch or commit of the deployment.",
            show_default=False,
            autocompletion=complete_deployment,
        ),
    ] = None,
    app: Annotated[
        str | None,
        typer.Option(
            "--app", metavar="NAME", help="Name of the app, if DEPLOYMENT fits several apps."
        ),
    ] = None,
    is_none: Annotated[
        bool, typer.Option("--none", help="Withdraw all apps: nothing is released afterwards.")
    ] = False,
    wait: Wait = True,
    timeout_s: Timeout = 310,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Route plain URLs of a virtual environment to a deployment.

    The release becomes active when all its pods are ready. Other apps of the environment are not
    changed. With --none, no app is released any more; pods and explicit URLs are not affected.
    """
    body = _request(selector, app, is_none=is_none)
    control = connect(control_url, data_dir)
    document = control.post("v1", "releases", virtual_env, body=body)
    show_outcome(control, document, wait_s=timeout_s if wait else None, output=output)


def _request(selector: str | None, app: str | None, *, is_none: bool) -> dict[str, object]:
    if is_none:
        if selector is not None or app is not None:
            raise typer.BadParameter(
                "--none withdraws all apps: it cannot be used with DEPLOYMENT or --app"
            )
        return {"apps": {}}
    if selector is None:
        raise typer.BadParameter("expected a DEPLOYMENT, or --none")
    return {"selector": selector} if app is None else {"selector": selector, "app": app}
