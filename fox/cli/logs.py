"""``fox logs``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from fox.cli.completion import complete_component, complete_pod
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, to_text
from fox.cli.tables import console_for
from model.pod import LogLine

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red")


def logs(
    component: Annotated[
        str | None,
        typer.Argument(
            metavar="COMPONENT", help="Of this component only.", autocompletion=complete_component
        ),
    ] = None,
    pod: Annotated[
        str | None, typer.Option("--pod", help="Of this pod only.", autocompletion=complete_pod)
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
    control = connect(control_url, data_dir)
    if output is Output.TABLE:
        tell: Callable[[LogLine], None] = Teller(console_for(sys.stdout)).tell
    else:
        tell = functools.partial(_document, output)
    lines = control.lines(
        "v1", "logs", component=component, pod=pod, tail=tail, follow="true" if follow else None
    )
    for each in lines:
        tell(msgspec.convert(each, LogLine))
        sys.stdout.flush()


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
        text = Text.assemble((line.pod, color), " ", Text.from_ansi(line.line))
        self._console.print(text, soft_wrap=True)


def _document(output: Output, line: LogLine) -> None:
    if output is Output.JSON:
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    else:
        sys.stdout.write("---\n" + to_text(output, line))
