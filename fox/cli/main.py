"""The ``fox`` command: finds the command by its name and only then loads it.

`fox --help` imports no command, so it stays quick whatever the commands need.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from typing import Any, NoReturn

import typer
import typer.core
import typer.main

_OF_OUTPUT = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
# One module each, holding a function of the same name.
COMMANDS = {
    "up": "Run the whole platform on this machine",
    "serve": "Run one part of the platform",
    "init": "Make a small app to start from",
    "deploy": "Deploy an app: only the components that changed get new pods",
    "undeploy": "Remove a deployment and the pods that only it used",
    "release": "Let plain URLs of a virtual environment go to a deployment",
    "rollback": "Go back to an earlier release of a virtual environment",
    "apply": "Create or change environments and adapters from YAML files",
    "delete": "Delete environments, adapters and dead letters",
    "redeliver": "Deliver emitted events again that were given up",
    "get": "List deployments, pods, releases, environments, dead letters",
    "describe": "Show one of them in full",
    "prune": "Remove code that no deployment and no release names any more",
    "logs": "Show what pods print",
    "stats": "Show rate, errors and quantiles of deployments and components",
    "traces": "List recent traces, or show one as a waterfall",
    "explain": "Tell what would serve a URL, without sending it",
    "version": "Show the version of this command and of the platform",
}
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class Commands(typer.core.TyperGroup):
    """The group of all commands; each is loaded when it is called or completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command in place of the one that only stands in the list."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if command is not None and name else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a failure with a known reason is told in a line, not a traceback."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = importlib.import_module("fox.cli.failures").report(error)
            if code is None:
                raise
            raise typer.Exit(code) from error


def load(name: str) -> Any:
    """Return the command ``name``, imported now."""
    function = getattr(importlib.import_module(f"fox.cli.{name}"), name)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)
    alone.command(name)(function)
    return typer.main.get_command(alone)


def _listed() -> None:
    """Stand for a command that is not loaded."""


# Without rich's markup the help comes in half the time (100 instead of 190 ms).
app = typer.Typer(
    name="fox",
    cls=Commands,
    help="Deploy an app as the few components that changed; route every request to its version.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)
for _name, _summary in COMMANDS.items():
    app.command(_name, help=_summary)(_listed)


def main() -> None:
    """Run the command line; ends the process with its exit code."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        sys.exit("error: standard output is closed")
    # What the terminal's encoding does not have is no reason to fail.
    sys.stdout.reconfigure(errors="replace")
    try:
        try:
            app(prog_name="fox")
        finally:
            sys.stdout.flush()
    except OSError as error:
        # A file's error names the file; one of the network, or of a process, is of another kind.
        if error.filename is not None or error.errno not in _OF_OUTPUT:
            raise
        _end_unheard(error)


def _end_unheard(error: OSError) -> NoReturn:
    if not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"error: the output cannot be written: {error.strerror}\n")
    # Python itself would try once more to write what is left.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
