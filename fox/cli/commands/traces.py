"""``fox traces``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from fox.cli.support.completion import (
    complete_component,
    complete_deployment,
    complete_virtual_environment,
)
from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import print_to, table
from fox.cli.support.times import show_ms
from fox.cli.support.waterfall import draw
from kubefox.telemetry import Trace, TraceSummary

COLUMNS = ("TRACE", "TIME", "REQUEST", "DEPLOYMENT", "ENVIRONMENT", "STATUS", "DURATION", "SPANS")
SHORT_ID = 12
_NS_A_MS = 1e6
_NS_A_SECOND = 1e9


TraceId = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help="Id of a trace (header kubefox-trace-id) or its beginning, or id of an event.",
        show_default=False,
    ),
]
DeploymentFilter = Annotated[
    str | None,
    typer.Option(
        "--deployment",
        "-d",
        metavar="NAME",
        help="List traces of this deployment only.",
        autocompletion=complete_deployment,
    ),
]
VirtualEnvFilter = Annotated[
    str | None,
    typer.Option(
        "--virtual-env",
        metavar="NAME",
        help="List traces of this virtual environment only.",
        autocompletion=complete_virtual_environment,
    ),
]
ComponentFilter = Annotated[
    str | None,
    typer.Option(
        "--component",
        "-c",
        metavar="NAME",
        help="List traces with a span of this component only.",
        autocompletion=complete_component,
    ),
]
Errors = Annotated[bool, typer.Option("--errors", help="List failed requests only.")]
Limit = Annotated[
    int,
    typer.Option("--limit", "-n", metavar="N", help="Largest number of traces.", min=1, max=1_000),
]


def traces(
    trace: TraceId = None,
    deployment: DeploymentFilter = None,
    virtual_env: VirtualEnvFilter = None,
    component: ComponentFilter = None,
    errors: Errors = False,
    limit: Limit = 20,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List the traces that the platform keeps, or show one as a waterfall.

    The platform traces requests with kf-sample=true or a sampled traceparent, a share of all
    requests (FOX_TRACE_RATIO), failed requests and the slowest requests.
    """
    control = connect(control_url, data_dir)
    if trace is not None:
        one = msgspec.convert(control.get("v1", "traces", trace), Trace)
        show(output, one, lambda: draw(one, sys.stdout))
        return
    documents = control.get(
        "v1",
        "traces",
        deployment=deployment,
        virtual_environment=virtual_env,
        component=component,
        errors="true" if errors else None,
        limit=limit,
    )
    found = msgspec.convert(documents, list[TraceSummary])
    show(output, found, lambda: _print_table(found))


def _print_table(found: list[TraceSummary]) -> None:
    if found:
        print_to(sys.stdout, table(COLUMNS, _rows(found)))
    else:
        sys.stderr.write("no traces: add ?kf-sample=true to a URL to trace its request\n")


def _rows(found: list[TraceSummary]) -> Iterator[tuple[object, ...]]:
    for trace in found:
        yield (
            trace.trace_id[:SHORT_ID],
            time.strftime("%H:%M:%S", time.localtime(trace.start_ns / _NS_A_SECOND)),
            f"{trace.name} {trace.path}".strip(),
            trace.deployment,
            trace.virtual_environment,
            " ".join(filter(None, (str(trace.status or ""), trace.error))),
            show_ms(trace.duration_ns / _NS_A_MS),
            trace.spans,
        )
