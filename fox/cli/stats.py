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

from fox.cli.client import Control
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import console_for, table, to_stream
from fox.cli.times import show_ms
from model.component import short
from model.telemetry import Row, Stats, Summary

FIGURES = ("REQUESTS", "RATE", "ERRORS", "P50", "P95", "P99")
WINDOW_S = 1.0
WATCH_WINDOW_S = 2.0


class By(StrEnum):
    """What rows stand for."""

    DEPLOYMENT = "deployment"
    COMPONENT = "component"


def stats(
    by: Annotated[
        By | None, typer.Option("--by", help="Only this table.", show_default=False)
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show what comes, again and again, until Ctrl-C.")
    ] = False,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show rate, errors and quantiles of each deployment, and of each component by deployment.

    Deployments: requests as their clients see them. Components: events as the pods handle them;
    one pod may serve many deployments, and still each has figures of its own. The rate is that of
    the last second; all else counts from the start. With --watch all but REQUESTS is of the last
    seconds.
    """
    control = connect(control_url, data_dir)
    if watch and output is Output.TABLE:
        _watch(control, by)
        return
    while True:
        found = _fetch(control, WINDOW_S)
        show(output, found, lambda: to_stream(_tables(found, by, is_recent=False), sys.stdout))  # noqa: B023
        sys.stdout.flush()
        if not watch:
            return


def _fetch(control: Control, window_s: float) -> Stats:
    return msgspec.convert(control.get("v1", "stats", window_s=window_s), Stats)


def _watch(control: Control, by: By | None) -> None:
    console = console_for(sys.stdout)
    if not console.is_terminal:
        for found in _looks(control):
            to_stream(Group(_tables(found, by, is_recent=True), ""), sys.stdout)
            sys.stdout.flush()
    with Live(console=console, auto_refresh=False) as live:
        for found in _looks(control):
            live.update(_tables(found, by, is_recent=True), refresh=True)


def _looks(control: Control) -> Iterator[Stats]:
    # The first look is short, so that there is something to see at once.
    yield _fetch(control, WINDOW_S)
    while True:
        yield _fetch(control, WATCH_WINDOW_S)


def _tables(found: Stats, by: By | None, *, is_recent: bool) -> RenderableType:
    tables: list[RenderableType] = []
    if by is not By.COMPONENT:
        rows = _deployments(found, is_recent=is_recent)
        tables.append(table(("DEPLOYMENT", "ENVIRONMENT", *FIGURES), rows))
    if by is not By.DEPLOYMENT:
        rows = _components(found, is_recent=is_recent)
        tables.append(table(("COMPONENT", "HASH", "DEPLOYMENT", "ENVIRONMENT", *FIGURES), rows))
    if is_recent:
        clock = time.strftime("%H:%M:%S", time.localtime(found.at_s))
        return Group(f"{clock}, last {found.window_s:.1f} s", "", *_apart(tables))
    return Group(*_apart(tables))


def _apart(tables: list[RenderableType]) -> Iterator[RenderableType]:
    for at, each in enumerate(tables):
        if at:
            yield ""
        yield each


def _deployments(found: Stats, *, is_recent: bool) -> Iterator[tuple[str, ...]]:
    for row in found.deployments:
        name = row.deployment or "(none)"
        yield (name, row.virtual_environment, *_figures(row, is_recent=is_recent))


def _components(found: Stats, *, is_recent: bool) -> Iterator[tuple[str, ...]]:
    for each in found.components:
        name, digest = each.component, short(each.hash)
        yield (name, digest, "(all)", "", *_figures(each.all, is_recent=is_recent))
        for row in each.deployments:
            place = (row.deployment, row.virtual_environment)
            yield ("", "", *place, *_figures(row, is_recent=is_recent))


def _figures(row: Row, *, is_recent: bool) -> tuple[str, ...]:
    shown = row.recent if is_recent and row.recent else row.total
    return (
        str(row.total.requests),
        f"{row.recent.rate_per_s:.1f}/s" if row.recent and row.recent.rate_per_s else "0/s",
        _errors(shown),
        show_ms(shown.p50_ms),
        show_ms(shown.p95_ms),
        show_ms(shown.p99_ms),
    )


def _errors(summary: Summary) -> str:
    if not summary.errors:
        return "0"
    return f"{summary.errors} ({summary.errors / summary.requests:.1%})"
