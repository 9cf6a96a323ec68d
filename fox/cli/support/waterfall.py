"""A trace as a waterfall: each span below its parent, with a bar from its start to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from rich.console import Group, RenderableType
from rich.text import Text

from fox.cli.support.tables import print_to, table
from fox.cli.support.times import show_ms
from kubefox import printable
from kubefox.component import short
from kubefox.telemetry import Span, Trace

BAR_WIDTH = 40
_NS_A_MS = 1e6
_FULL, _THIN = "█", "▏"


def draw(trace: Trace, stream: IO[str]) -> None:
    """Print a trace."""
    start_ns = min(span.start_ns for span in trace.spans)
    total_ns = max(span.start_ns + span.duration_ns for span in trace.spans) - start_ns or 1
    lines: list[RenderableType] = [printable.one_line(_title(trace, total_ns)), ""]
    rows = [
        (
            "  " * depth + _name(span),
            _component(span),
            show_ms(span.duration_ns / _NS_A_MS),
            _status(span),
            _bar(span.start_ns - start_ns, span.duration_ns, total_ns),
        )
        for depth, span in in_order(trace)
    ]
    lines.append(table(("SPAN", "COMPONENT", "DURATION", "STATUS", "TIME"), rows))
    lines += [Text(printable.lines(line), "red") for line in _exceptions(trace)]
    print_to(stream, Group(*lines))


def in_order(trace: Trace) -> Iterator[tuple[int, Span]]:
    """Yield the depth and the span of each, parents first; the depth of an orphan is 0."""
    ids = {span.span_id for span in trace.spans}
    children: dict[str, list[Span]] = {}
    for span in trace.spans:
        children.setdefault(span.parent_id if span.parent_id in ids else "", []).append(span)
    stack = [(0, span) for span in reversed(children.get("", []))]
    while stack:
        depth, span = stack.pop()
        yield depth, span
        # Children are removed from the map, so that a cycle ends.
        stack += [(depth + 1, child) for child in reversed(children.pop(span.span_id, []))]


def _title(trace: Trace, total_ns: int) -> str:
    attributes = trace.spans[0].attributes
    keys = ("kubefox.app", "kubefox.deployment", "kubefox.virtual_environment")
    place = [str(attributes[key]) for key in keys if attributes.get(key)]
    return f"trace {trace.trace_id}  {' / '.join(place)}  {show_ms(total_ns / _NS_A_MS)}"


def _name(span: Span) -> str:
    path = span.attributes.get("url.path", "")
    method = str(span.attributes.get("http.request.method", ""))
    if not path:
        return span.name
    return f"{span.name} {path}" if span.name == method else f"{span.name}: {method} {path}"


def _component(span: Span) -> str:
    digest = str(span.attributes.get("kubefox.component.hash", ""))
    return f"{span.service}@{short(digest)}" if digest else span.service


def _status(span: Span) -> str:
    return " ".join(filter(None, (str(span.status or ""), span.error)))


def _bar(offset_ns: int, duration_ns: int, total_ns: int) -> str:
    left = min(BAR_WIDTH - 1, offset_ns * BAR_WIDTH // total_ns)
    width = min(BAR_WIDTH - left, round(duration_ns * BAR_WIDTH / total_ns))
    return " " * left + (_FULL * width or _THIN)


def _exceptions(trace: Trace) -> Iterator[str]:
    for span in trace.spans:
        for event in span.events:
            if event.name == "exception":
                attributes = event.attributes
                kind, message = attributes["exception.type"], attributes["exception.message"]
                yield f"{span.service}: {kind}: {message}"
