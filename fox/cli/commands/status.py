"""``fox status``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
import typer

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import print_to, table
from kubefox.status import Check, CheckState, PlatformStatus

EXIT_DEGRADED = 1
_COLUMNS = ("CHECK", "STATE", "WHAT")


def status(
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show what is well with the platform and what is not.

    Details are shown of checks that are degraded, and all of them with -o json. The exit code is 1
    if something is degraded.
    """
    document = connect(control_url, data_dir).get("v1", "status")
    found = msgspec.convert(document, PlatformStatus)

    def print_checks() -> None:
        rows = [row for check in found.checks for row in _rows(check)]
        print_to(sys.stdout, table(_COLUMNS, rows))
        sys.stdout.write(f"\nKubeFox {found.version} is {found.state.value}\n")

    show(output, document, print_checks)
    if found.state is CheckState.DEGRADED:
        raise typer.Exit(EXIT_DEGRADED)


def _rows(check: Check, indent: str = "") -> Iterator[tuple[str, str, str]]:
    yield f"{indent}{check.name}", check.state.value, check.detail
    if check.state is CheckState.DEGRADED:
        for item in check.items:
            yield from _rows(item, f"{indent}  ")
