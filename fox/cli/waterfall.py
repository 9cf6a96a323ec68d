"""A trace as a waterfall: each span below its parent, a bar from its start to its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from rich.console import Group, RenderableType
from rich.text import Text

from fox.cli.tables import table, to_stream
from fox.cli.times import show_ms
from model.component import short
from model.telemetry import Span, Trace

BAR = 40
_NS_A_MS = 1e6
_FULL, _POINT = "█", "▏"


def draw(trace: Trace, stream: IO[str]) -> None:
    """Print a trace."""
    start_ns = min(span.start_ns for span in trace.spans)
    total_ns = max(span.start_ns + span.duration_ns for span in trace.spans) - start_ns or 1
    lines: list[RenderableType] = [_title(trace, total_ns), ""]
    rows = [
        (
            "  " * depth + _name(span),
            _who(span),
            show_ms(span.duration_ns / _NS_A_MS),
            _state(span),
            _bar(span.start_ns - start_ns, span.duration_ns, total_ns),
        )
        for depth, span in in_order(trace)
    ]
    lines.append(table(("SPAN", "COMPONENT", "DURATION", "STATUS", "TIME"), rows))
    lines += [Text(line, "red") for line in _failures(trace)]
    to_stream(Group(*lines), stream)


def in_order(trace: Trace) -> Iterator[tuple[int, Span]]:
    """Yield depth and span, parents first; a span whose parent is unknown stands at the top."""
    known = {span.span_id for span in trace.spans}
    below: dict[str, list[Span]] = {}
    for span in trace.spans:
        below.setdefault(span.parent_id if span.parent_id in known else "", []).append(span)
    waiting = [(0, span) for span in reversed(below.get("", []))]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        # Taken out, so that a circle ends.
        waiting += [(depth + 1, each) for each in reversed(below.pop(span.span_id, []))]


def _title(trace: Trace, total_ns: int) -> str:
    attributes = trace.spans[0].attributes
    place = [
        str(attributes[key])
        for key in ("kubefox.app", "kubefox.deployment", "kubefox.virtual_environment")
        if attributes.get(key)
    ]
    return f"trace {trace.trace_id}  {' / '.join(place)}  {show_ms(total_ns / _NS_A_MS)}"


def _name(span: Span) -> str:
    path = span.attributes.get("url.path", "")
    method = str(span.attributes.get("http.request.method", ""))
    if not path:
        return span.name
    return f"{span.name} {path}" if span.name == method else f"{span.name}: {method} {path}"


def _who(span: Span) -> str:
    digest = str(span.attributes.get("kubefox.component.hash", ""))
    return f"{span.service}@{short(digest)}" if digest else span.service


def _state(span: Span) -> str:
    return " ".join(filter(None, (str(span.status or ""), span.error)))


def _bar(offset_ns: int, duration_ns: int, total_ns: int) -> str:
    left = min(BAR - 1, offset_ns * BAR // total_ns)
    width = min(BAR - left, round(duration_ns * BAR / total_ns))
    return " " * left + (_FULL * width or _POINT)


def _failures(trace: Trace) -> Iterator[str]:
    for span in trace.spans:
        for event in span.events:
            if event.name == "exception":
                attributes = event.attributes
                yield f"{span.service}: {attributes['exception.type']}: " + str(
                    attributes["exception.message"]
                )
