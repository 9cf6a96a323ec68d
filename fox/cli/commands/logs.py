"""``fox logs``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from fox.cli.support.completion import (
    complete_component,
    complete_deployment,
    complete_pod,
    complete_virtual_environment,
)
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient, NoPlatform
from fox.cli.support.kinds import DEPLOYMENTS, PODS, VIRTUAL_ENVIRONMENTS, Kind
from fox.cli.support.log_text import readable
from fox.cli.support.objects import fetch_object
from fox.cli.support.output import Output, to_text
from fox.cli.support.pages import documents
from fox.cli.support.tables import console_for
from fox.cli.support.times import read_since
from kubefox import printable
from kubefox.errors import NotFound
from kubefox.pod import LogLine

COLORS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red")


Component = Annotated[
    str | None,
    typer.Argument(
        metavar="COMPONENT",
        help="Show lines of this component only.",
        autocompletion=complete_component,
    ),
]
ComponentOption = Annotated[
    str | None,
    typer.Option(
        "--component",
        "-c",
        metavar="NAME",
        help="Same as COMPONENT.",
        autocompletion=complete_component,
    ),
]
Pod = Annotated[
    str | None,
    typer.Option(
        "--pod", metavar="ID", help="Show lines of this pod only.", autocompletion=complete_pod
    ),
]
DeploymentFilter = Annotated[
    str | None,
    typer.Option(
        "--deployment",
        "-d",
        metavar="NAME",
        help="Show only lines that handlers logged for this deployment.",
        autocompletion=complete_deployment,
    ),
]
VirtualEnvFilter = Annotated[
    str | None,
    typer.Option(
        "--virtual-env",
        metavar="NAME",
        help="Show only lines that handlers logged for this virtual environment.",
        autocompletion=complete_virtual_environment,
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Show only newer lines: 30s, 10m, 2h, or 2026-11-23T12:00.",
    ),
]
Tail = Annotated[
    int, typer.Option("--tail", metavar="N", help="Show the last N lines of each pod.", min=0)
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Continue with new lines until Ctrl-C.")
]
LogOutput = Annotated[
    Output,
    typer.Option("--output", "-o", help="Output format; json prints one object per line."),
]


def logs(
    component: Component = None,
    component_option: ComponentOption = None,
    pod: Pod = None,
    deployment: DeploymentFilter = None,
    virtual_env: VirtualEnvFilter = None,
    since: Since = None,
    tail: Tail = 100,
    follow: Follow = False,
    output: LogOutput = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show the output of pods, also of those that have ended; these are marked.

    --follow waits for lines of a component or deployment that has no pods yet, and says so. A name
    that does not exist ends the command with 3.
    """
    if component and component_option and component != component_option:
        raise typer.BadParameter(
            f"both {component} and {component_option} are named: expected one component"
        )
    component = component or component_option
    control = connect(control_url, data_dir)
    names = ((PODS, pod), (DEPLOYMENTS, deployment), (VIRTUAL_ENVIRONMENTS, virtual_env))
    can_follow = follow and _exists(control, component, names)
    if can_follow and not _has_pods(control, component, deployment):
        sys.stderr.write("no pods yet: waiting for lines until Ctrl-C\n")
    documents = control.lines(
        "v1",
        "logs",
        component=component,
        pod=pod,
        deployment=deployment,
        virtual_environment=virtual_env,
        since_s=read_since(since, time.time()) if since else None,
        tail=tail,
        follow="true" if can_follow else None,
    )
    print_line, is_empty, has_notice = _line_printer(output, RunningPods(control)), True, False
    for document in documents:
        line = msgspec.convert(document, LogLine)
        if line.is_notice:
            sys.stderr.write(f"warning: {printable.one_line(line.line)}\n")
            has_notice = True
            continue
        print_line(line)
        sys.stdout.flush()
        is_empty = False
    if can_follow:
        raise NoPlatform(
            f"the control API at {control.place} has ended the log, as it does when it stops: run "
            "the command again; --tail 0 leaves out the lines until now"
        )
    if is_empty and has_notice:
        raise typer.Exit(1)
    if is_empty:
        _check_exists(control, component, names)
        sys.stderr.write("no lines\n")
    elif follow and not can_follow:
        sys.stderr.write("these pods have ended: there is nothing to follow\n")


def _exists(
    control: ControlClient, component: str | None, names: Iterable[tuple[Kind, str | None]]
) -> bool:
    try:
        _check_exists(control, component, names)
    except NotFound:
        return False
    return True


def _check_exists(
    control: ControlClient, component: str | None, names: Iterable[tuple[Kind, str | None]]
) -> None:
    """Check that the component and the named objects exist.

    Raises:
        NotFound: An object does not exist, or no deployment has such a component.
    """
    for kind, name in names:
        if name:
            fetch_object(control, kind, name)
    if not component:
        return
    if not any(documents(control, DEPLOYMENTS.path, limit=1, component=component)):
        raise NotFound(f"component {component} does not exist in any deployment")


def _has_pods(control: ControlClient, component: str | None, deployment: str | None) -> bool:
    """Return whether a component or a deployment has a pod; None stands for all."""
    found = documents(control, PODS.path, limit=1, component=component, deployment=deployment)
    return any(found)


class RunningPods:
    """Which pods run; each is asked for when its first line comes.

    Args:
        control: The control API.
    """

    def __init__(self, control: ControlClient) -> None:
        self._control = control
        self._is_ended: dict[str, bool] = {}

    def is_ended(self, pod: str) -> bool:
        """Return whether a pod had ended when its first line was received."""
        if pod not in self._is_ended:
            self._is_ended[pod] = not _exists(self._control, None, ((PODS, pod),))
        return self._is_ended[pod]


class LinePrinter:
    """Prints log lines for people, with a colour for each pod.

    Args:
        console: The console to print to.
        pods: Knows which pods have ended.
    """

    def __init__(self, console: Console, pods: RunningPods) -> None:
        self._console = console
        self._pods = pods
        self._colors: dict[str, str] = {}

    def print_line(self, line: LogLine) -> None:
        """Print one line; colours in the line itself are kept on a terminal only."""
        color = self._colors.setdefault(line.pod, COLORS[len(self._colors) % len(COLORS)])
        mark = " (ended)" if self._pods.is_ended(line.pod) else ""
        text = Text.assemble((line.pod + mark, color), " ", Text.from_ansi(readable(line)))
        self._console.print(text, soft_wrap=True)


def _line_printer(output: Output, pods: RunningPods) -> Callable[[LogLine], None]:
    if output is Output.TABLE:
        return LinePrinter(console_for(sys.stdout), pods).print_line

    def print_document(line: LogLine) -> None:
        document = {
            **msgspec.to_builtins(line),
            "fields": line.fields,
            "is_ended": pods.is_ended(line.pod),
        }
        if output is Output.JSON:
            sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        else:
            sys.stdout.write("---\n" + to_text(output, document))

    return print_document
