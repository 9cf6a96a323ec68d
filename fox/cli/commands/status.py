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
MOST_ITEMS = 30
"""Details of one check that are shown."""
_COLUMNS = ("CHECK", "STATE", "WHAT")


def status(
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show the state of the platform and of its parts.

    Details are shown of checks that are degraded, and of the streams and buckets of a NATS cluster;
    -o json has all of them. The exit code is 1 if something is degraded.
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
    has_leaders = any(item.facts.get("leader") for item in check.items)
    if check.state is not CheckState.DEGRADED and not has_leaders:
        return
    indent += "  "
    # The degraded ones first: there is a bucket for each virtual environment.
    items = sorted(check.items, key=lambda item: item.state is not CheckState.DEGRADED)
    for item in items[:MOST_ITEMS]:
        yield from _rows(item, indent)
    if (more := len(items) - MOST_ITEMS) > 0:
        yield f"{indent}…", "", f"and {more} more: see -o json"
