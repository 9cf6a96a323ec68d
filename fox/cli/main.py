"""The ``fox`` command: finds a subcommand by its name, and imports only that one.

``fox --help`` imports no command, so it stays fast whatever the commands import.
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

from fox.cli.support import kube_options

# Errors of writing to standard output: a closed pipe, a full disk, a broken device.
_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
# Each command is the function of its name, or a group of functions, in the module of its name;
# with "_" for "-".
COMMANDS = {
    "up": "Run the whole platform on this machine",
    "serve": "Run one part of the platform",
    "init-nats": "Make keys and a configuration for a NATS server of your own",
    "init": "Create a small app to start from",
    "deploy": "Deploy an app: only the components that changed get new pods",
    "undeploy": "Remove a deployment and the pods that only it used",
    "release": "Route plain URLs of a virtual environment to a deployment",
    "share": "Share a preview of a deployment by a link that ends",
    "rollback": "Restore an earlier release of a virtual environment",
    "history": "List the generations of a deployment: what it has served before",
    "undo": "Restore an earlier generation of a deployment",
    "abort": "Drop a rollout, or a pending release",
    "apply": "Create or change environments and adapters from YAML files",
    "delete": "Delete environments, adapters and dead letters",
    "redeliver": "Deliver dead letters again: emitted events that failed",
    "scale": "Show how many pods components run, or change it",
    "get": "List deployments, pods, releases, shares, audit records",
    "describe": "Show one object in full",
    "prune": "Remove code that no deployment and no release uses",
    "status": "Show the state of the platform and of its parts",
    "logs": "Show the output of pods",
    "stats": "Show rate, errors and latency of deployments and components",
    "traces": "List recent traces, or show one as a waterfall",
    "explain": "Show what would serve a URL, without sending a request",
    "rotate-keys": "Replace the keys that seal event contexts and encrypt secrets",
    "token": "Create, list or revoke tokens of the control API",
    "version": "Show the version of this command and of the platform",
}
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class Commands(typer.core.TyperGroup):
    """The group of all commands; a command is imported when it is run or completed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params += kube_options.kube_options()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command."""
        kube_options.forget()
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the imported command in place of its placeholder."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is None or not name:
            return name, command, rest
        loaded = load(name)
        given = kube_options.given_context()
        if given is not None and given.is_option and not kube_options.can_use(loaded):
            ctx.fail(f"fox {name} has no {kube_options.CONTEXT_OPTION}: it asks no control API")
        return name, loaded, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an expected failure is printed as one line, without a traceback."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            code = importlib.import_module("fox.cli.support.failures").report(error)
            if code is None:
                raise
            raise typer.Exit(code) from error


def load(name: str) -> Any:
    """Import the command ``name`` and return it."""
    module = name.replace("-", "_")
    found = getattr(importlib.import_module(f"fox.cli.commands.{module}"), module)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)
        single.command(name)(found)
        found = single
    command = typer.main.get_command(found)
    importlib.import_module("fox.cli.support.credentials").add_token_option(command)
    kube_options.add_kube_options(command)
    return command


def _placeholder() -> None:
    """Stand for a command that is not imported yet."""


# Without rich's markup, the help takes half the time (100 instead of 190 ms).
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
    app.command(_name, help=_summary)(_placeholder)


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        sys.exit("error: standard output is closed")
    # A character that the terminal's encoding lacks is replaced, so it is not an error.
    sys.stdout.reconfigure(errors="replace")
    try:
        try:
            app(prog_name="fox")
        finally:
            sys.stdout.flush()
    except OSError as error:
        # An error of a file has a file name; errors of sockets and processes have other numbers.
        if error.filename is not None or error.errno not in _OUTPUT_ERRORS:
            raise
        _end_without_output(error)


def _end_without_output(error: OSError) -> NoReturn:
    if not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"error: the output cannot be written: {error.strerror}\n")
    # At exit, Python would try to write the rest of the output, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
