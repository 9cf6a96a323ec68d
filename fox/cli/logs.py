"""``fox logs``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from fox.cli.client import Control
from fox.cli.completion import (
    complete_component,
    complete_deployment,
    complete_pod,
    complete_virtual_environment,
)
from fox.cli.get import fetch
from fox.cli.kinds import DEPLOYMENTS, PODS
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.log_text import readable
from fox.cli.output import Output, to_text
from fox.cli.tables import console_for
from fox.cli.times import read_since
from model.deployment import Deployment
from model.errors import NotFound
from model.pod import LogLine

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red")


def logs(
    component: Annotated[
        str | None,
        typer.Argument(
            metavar="COMPONENT", help="Of this component only.", autocompletion=complete_component
        ),
    ] = None,
    component_option: Annotated[
        str | None,
        typer.Option(
            "--component", "-c", metavar="NAME", help="The same.", autocompletion=complete_component
        ),
    ] = None,
    pod: Annotated[
        str | None,
        typer.Option(
            "--pod", metavar="NAME", help="Of this pod only.", autocompletion=complete_pod
        ),
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(
            "--deployment",
            "-d",
            metavar="NAME",
            help="Of handlers at work for this deployment only.",
            autocompletion=complete_deployment,
        ),
    ] = None,
    virtual_env: Annotated[
        str | None,
        typer.Option(
            "--virtual-env",
            metavar="NAME",
            help="Of handlers at work for this virtual environment only.",
            autocompletion=complete_virtual_environment,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="As 30s, 10m, 2h, or 2026-11-23T12:00."),
    ] = None,
    tail: Annotated[
        int, typer.Option("--tail", metavar="N", help="How many of each pod's last lines.", min=0)
    ] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")
    ] = False,
    output: Annotated[
        Output, typer.Option("--output", "-o", help="json prints one object a line.")
    ] = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show what pods print."""
    if component and component_option and component != component_option:
        raise typer.BadParameter(f"both {component} and {component_option} are named")
    component = component or component_option
    control = connect(control_url, data_dir)
    lines = control.lines(
        "v1",
        "logs",
        component=component,
        pod=pod,
        deployment=deployment,
        virtual_environment=virtual_env,
        since_s=read_since(since, time.time()) if since else None,
        tail=tail,
        follow="true" if follow else None,
    )
    tell, is_empty = _teller(output), True
    for each in lines:
        tell(msgspec.convert(each, LogLine))
        sys.stdout.flush()
        is_empty = False
    if is_empty:
        _check_there(control, component, pod)
        sys.stderr.write("no lines\n")


def _check_there(control: Control, component: str | None, pod: str | None) -> None:
    """Refuse what has said nothing because there is no such thing.

    Raises:
        NotFound: There is no such pod, or no deployment has such a component.
    """
    if pod:
        fetch(control, PODS, pod)
    deployments: list[Deployment] = DEPLOYMENTS.records(control.get("v1", DEPLOYMENTS.path))
    if component and not any(component in each.components for each in deployments):
        raise NotFound(f"there is no component {component} in any deployment")


class Teller:
    """Prints lines for people, each pod's name in a colour of its own.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        """Begin with the first colour."""
        self._console = console
        self._colors: dict[str, str] = {}

    def tell(self, line: LogLine) -> None:
        """Print one line; colours that the component chose are kept on a terminal only."""
        color = self._colors.setdefault(line.pod, COLORS[len(self._colors) % len(COLORS)])
        text = Text.assemble((line.pod, color), " ", Text.from_ansi(readable(line)))
        self._console.print(text, soft_wrap=True)


def _teller(output: Output) -> Callable[[LogLine], None]:
    if output is Output.TABLE:
        return Teller(console_for(sys.stdout)).tell

    def document(line: LogLine) -> None:
        shown = {**msgspec.to_builtins(line), "fields": line.fields}
        if output is Output.JSON:
            sys.stdout.write(msgspec.json.encode(shown).decode() + "\n")
        else:
            sys.stdout.write("---\n" + to_text(output, shown))

    return document
