"""``fox stats``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.live import Live

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.control_client import ControlClient
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import console_for, print_to, table
from fox.cli.support.times import show_ms
from kubefox.component import short
from kubefox.telemetry import Row, Stats, Summary

FIGURES = ("REQUESTS", "RATE", "ERRORS", "REFUSED", "P50", "P95", "P99")
REFUSALS = ("REFUSED BY", "HASH", "DEPLOYMENT", "ENVIRONMENT", "REASON", "REFUSED")
WINDOW_S = 1.0
WATCH_WINDOW_S = 2.0


class By(StrEnum):
    """The tables of ``fox stats``."""

    DEPLOYMENT = "deployment"
    COMPONENT = "component"
    REASON = "reason"


def stats(
    by: Annotated[
        By | None, typer.Option("--by", help="Show this table only.", show_default=False)
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Repeat with recent figures until Ctrl-C.")
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show rate, errors, refusals and latency of deployments, and of components by deployment.

    The figures of a deployment are its requests, measured in the HTTP adapter. The figures of a
    component are its events, measured in its pods; a pod that serves several deployments has
    figures for each. RATE is that of the last second; all other figures count from the start. With
    --watch, all figures except REQUESTS are those of the last seconds.

    REFUSED counts what was not handled because of a limit. If there is any, a third table shows the
    reasons. A request that a pod refused is counted for its deployment, and for the component.
    """
    control = connect(control_url, data_dir)
    if watch and output is Output.TABLE:
        _watch(control, by)
        return
    while True:
        found = _fetch(control, WINDOW_S)
        show(output, found, lambda: print_to(sys.stdout, _tables(found, by, is_recent=False)))  # noqa: B023
        sys.stdout.flush()
        if not watch:
            return


def _fetch(control: ControlClient, window_s: float) -> Stats:
    return msgspec.convert(control.get("v1", "stats", window_s=window_s), Stats)


def _watch(control: ControlClient, by: By | None) -> None:
    console = console_for(sys.stdout)
    if not console.is_terminal:
        for found in _repeated(control):
            print_to(sys.stdout, Group(_tables(found, by, is_recent=True), ""))
            sys.stdout.flush()
    with Live(console=console, auto_refresh=False) as live:
        for found in _repeated(control):
            live.update(_tables(found, by, is_recent=True), refresh=True)


def _repeated(control: ControlClient) -> Iterator[Stats]:
    # The first window is short, so that the first table is soon there.
    yield _fetch(control, WINDOW_S)
    while True:
        yield _fetch(control, WATCH_WINDOW_S)


def _tables(found: Stats, by: By | None, *, is_recent: bool) -> RenderableType:
    tables: list[RenderableType] = []
    if by in {None, By.DEPLOYMENT}:
        rows = _deployment_rows(found, is_recent=is_recent)
        tables.append(table(("DEPLOYMENT", "ENVIRONMENT", *FIGURES), rows))
    if by in {None, By.COMPONENT}:
        rows = _component_rows(found, is_recent=is_recent)
        tables.append(table(("COMPONENT", "HASH", "DEPLOYMENT", "ENVIRONMENT", *FIGURES), rows))
    refusals = list(_refusal_rows(found, is_recent=is_recent))
    if by is By.REASON or (by is None and refusals):
        tables.append(table(REFUSALS, refusals))
    if is_recent:
        clock = time.strftime("%H:%M:%S", time.localtime(found.at_s))
        return Group(f"{clock}, last {found.window_s:.1f} s", "", *_separated(tables))
    return Group(*_separated(tables))


def _separated(tables: list[RenderableType]) -> Iterator[RenderableType]:
    """Yield the tables with an empty line between them."""
    for number, one in enumerate(tables):
        if number:
            yield ""
        yield one


def _deployment_rows(found: Stats, *, is_recent: bool) -> Iterator[tuple[str, ...]]:
    for row in found.deployments:
        name = row.deployment or "(none)"
        yield (name, row.virtual_environment, *_figures(row, is_recent=is_recent))


def _component_rows(found: Stats, *, is_recent: bool) -> Iterator[tuple[str, ...]]:
    for component in found.components:
        name, digest = component.component, short(component.hash)
        yield (name, digest, "(all)", "", *_figures(component.all, is_recent=is_recent))
        for row in component.deployments:
            place = (row.deployment, row.virtual_environment)
            yield ("", "", *place, *_figures(row, is_recent=is_recent))


def _refusal_rows(found: Stats, *, is_recent: bool) -> Iterator[tuple[str, ...]]:
    """Yield a row for each reason, without the total over the deployments of a component."""
    places = [("(client's view)", "", row) for row in found.deployments]
    places += [
        (component.component, short(component.hash), row)
        for component in found.components
        for row in component.deployments
    ]
    for name, digest, row in places:
        place = (name, digest, row.deployment or "(none)", row.virtual_environment)
        for reason, count in _summary(row, is_recent=is_recent).refused.items():
            yield (*place, reason, str(count))


def _summary(row: Row, *, is_recent: bool) -> Summary:
    return row.recent if is_recent and row.recent else row.total


def _figures(row: Row, *, is_recent: bool) -> tuple[str, ...]:
    summary = _summary(row, is_recent=is_recent)
    return (
        str(row.total.requests),
        f"{row.recent.rate_per_s:.1f}/s" if row.recent and row.recent.rate_per_s else "0/s",
        _errors(summary),
        str(sum(summary.refused.values())),
        show_ms(summary.p50_ms),
        show_ms(summary.p95_ms),
        show_ms(summary.p99_ms),
    )


def _errors(summary: Summary) -> str:
    if not summary.errors:
        return "0"
    return f"{summary.errors} ({summary.errors / summary.requests:.1%})"
