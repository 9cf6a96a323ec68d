"""``fox traces``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from fox.cli.completion import (
    complete_component,
    complete_deployment,
    complete_virtual_environment,
)
from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import table, to_stream
from fox.cli.times import show_ms
from fox.cli.waterfall import draw
from model.telemetry import Trace, TraceSummary

COLUMNS = ("TRACE", "TIME", "REQUEST", "DEPLOYMENT", "ENVIRONMENT", "STATUS", "DURATION", "SPANS")
SHORT = 12
_NS_A_MS = 1e6
_NS_A_SECOND = 1e9


def traces(
    trace: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Of a trace or the beginning of it, as in kubefox-trace-id; or of an event.",
            show_default=False,
        ),
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option("--deployment", "-d", metavar="NAME", autocompletion=complete_deployment),
    ] = None,
    virtual_env: Annotated[
        str | None,
        typer.Option("--virtual-env", metavar="NAME", autocompletion=complete_virtual_environment),
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(
            "--component",
            "-c",
            metavar="NAME",
            help="That took part.",
            autocompletion=complete_component,
        ),
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only what failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000)] = 20,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List the traces that the platform keeps, or show one as a waterfall.

    Traced is what asks for it (kf-sample=true, or a sampled traceparent), a share of all
    (FOX_TRACE_RATIO), and always what failed and the slowest.
    """
    control = connect(control_url, data_dir)
    if trace is not None:
        one = msgspec.convert(control.get("v1", "traces", trace), Trace)
        show(output, one, lambda: draw(one, sys.stdout))
        return
    listed = control.get(
        "v1",
        "traces",
        deployment=deployment,
        virtual_environment=virtual_env,
        component=component,
        errors="true" if errors else None,
        limit=limit,
    )
    found = msgspec.convert(listed, list[TraceSummary])
    show(output, found, lambda: _list(found))


def _list(found: list[TraceSummary]) -> None:
    if found:
        to_stream(table(COLUMNS, _rows(found)), sys.stdout)
    else:
        sys.stderr.write("no traces: ask for one with ?kf-sample=true\n")


def _rows(found: list[TraceSummary]) -> Iterator[tuple[object, ...]]:
    for each in found:
        yield (
            each.trace_id[:SHORT],
            time.strftime("%H:%M:%S", time.localtime(each.start_ns / _NS_A_SECOND)),
            f"{each.name} {each.path}".strip(),
            each.deployment,
            each.virtual_environment,
            " ".join(filter(None, (str(each.status or ""), each.error))),
            show_ms(each.duration_ns / _NS_A_MS),
            each.spans,
        )
