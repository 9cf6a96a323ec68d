"""W3C trace context without the OpenTelemetry SDK, whose spans cost 22 µs each.

A ``traceparent`` is ``00-<trace id, 32 hex>-<parent span id, 16 hex>-<flags, 2 hex>``; the lowest
flag means sampled. An event carries one only if its trace is sampled, or was started by
the client. For all other events, the ids of the trace and the span follow from the event's own ids
(``broker.runtime.ids``), so nothing is made or sent.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from broker.runtime.ids import new_id, span_of

_SAMPLED = 1
SAMPLED_SUFFIX = "-01"
"""The end of a ``traceparent`` that ``format_traceparent`` made for a sampled trace."""
_is_span_id = re.compile("[0-9a-f]{16}").fullmatch
_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """The place of a span in its trace.

    Attributes:
        trace_id: 32 hex digits.
        span_id: Id of the parent span, 16 hex digits; empty for the first span of a trace.
        is_sampled: Whether the spans of the trace are recorded.
    """

    trace_id: str
    span_id: str
    is_sampled: bool


def parse(traceparent: str) -> TraceContext | None:
    """Return the trace context of a client's header, or None if the header is not valid."""
    found = _PATTERN.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_invalid = version == "ff" or not trace_id.strip("0") or not span_id.strip("0")
    if is_invalid or (version == "00" and more):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def format_traceparent(trace_id: str, span_id: str, *, is_sampled: bool) -> str:
    """Return the ``traceparent`` that makes ``span_id`` the parent of the receiver's span."""
    return f"00-{trace_id}-{span_id}-{'01' if is_sampled else '00'}"


def trace_id_of(traceparent: str, genesis_id: str) -> str:
    """Return the trace id of an event, from its ``traceparent`` or the id of its genesis event."""
    return traceparent[3:35] or genesis_id


def parent_id_of(traceparent: str, event_id: str) -> str:
    """Return the id of the span that sent an event, from its ``traceparent`` or its id."""
    return traceparent[36:52] or span_of(event_id)


def child_traceparent(traceparent: str, event_id: str) -> str:
    """Return the ``traceparent`` of an event that is sent within the trace of another event.

    Args:
        traceparent: The ``traceparent`` of the other event.
        event_id: Id of the new event.
    """
    return f"{traceparent[:36]}{span_of(event_id)}{traceparent[52:]}"


def new_span_id() -> str:
    """Return 16 random hex digits, for a span that sends no event."""
    return span_of(new_id())


def derived_span_id(span_id: str, number: int) -> str:
    """Return the id of the span with a number that belongs to another span.

    The result depends on the arguments only, so each process derives the same id. ``span_id`` comes
    from an event and may be any text; the result is a valid id in any case.
    """
    if not _is_span_id(span_id):
        span_id = hashlib.blake2b(span_id.encode(errors="replace"), digest_size=8).hexdigest()
    return f"{int(span_id, 16) ^ number:016x}"


def sampling_threshold(ratio: float) -> str:
    """Return the threshold below which trace ids are sampled, compared as text.

    Every process samples the same traces for the same ratio.

    Args:
        ratio: Share of the traces that are sampled, from 0 to 1.
    """
    bound = int(ratio * (1 << 64))
    # Every id sorts before g: all are sampled.
    return f"{bound:016x}" if bound < 1 << 64 else "g"
