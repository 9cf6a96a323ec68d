"""W3C trace context by hand: an SDK span costs 22 µs.

``00-<trace id, 32 hex>-<parent span id, 16 hex>-<flags, 2 hex>``; the lowest flag says sampled. An
event carries one only if its trace is sampled, or was begun by the client. For all others its ids
tell the same (``broker.ids``), and nothing is made or sent.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from broker.ids import new_id, span_of

_SAMPLED = 1
_SPAN_ID_DIGITS = 16
SAMPLED = "-01"
"""How a ``traceparent`` ends that ``write`` made of a sampled trace."""
_is_span_id = re.compile("[0-9a-f]{16}").fullmatch
_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """Where a span stands.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits: of the parent, or empty for the first span of a trace.
        is_sampled: Whether its spans are wanted.
    """

    trace_id: str
    span_id: str
    is_sampled: bool


def parse(traceparent: str) -> TraceContext | None:
    """Return what a header of an unknown sender says, or None if it cannot be trusted."""
    found = _PATTERN.fullmatch(traceparent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_invalid = version == "ff" or not trace_id.strip("0") or not span_id.strip("0")
    if is_invalid or (version == "00" and more):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def write(trace_id: str, span_id: str, *, is_sampled: bool) -> str:
    """Return the ``traceparent`` that makes ``span_id`` the parent of the receiver's span."""
    return f"00-{trace_id}-{span_id}-{'01' if is_sampled else '00'}"


def trace_id_of(traceparent: str, genesis_id: str) -> str:
    """Return the id of the trace of an event, by what it carries and the id of its genesis."""
    return traceparent[3:35] or genesis_id


def parent_id_of(traceparent: str, event_id: str) -> str:
    """Return the id of the span in which an event was sent, by what it carries and its id."""
    return traceparent[36:52] or span_of(event_id)


def with_parent(traceparent: str, event_id: str) -> str:
    """Return the ``traceparent`` of an event that is sent within the trace of another.

    Args:
        traceparent: What the other one carries.
        event_id: Of the new one.
    """
    return f"{traceparent[:36]}{span_of(event_id)}{traceparent[52:]}"


def new_span_id() -> str:
    """Return 16 random hex digits, for a span in which no event is sent."""
    return new_id()[:_SPAN_ID_DIGITS]


def kin_of(span_id: str, number: int) -> str:
    """Return the id of a span that is told by its kin's: the same wherever it is asked for.

    Whoever may send events may write whatever for an id: this is one all the same.
    """
    if not _is_span_id(span_id):
        span_id = hashlib.blake2b(span_id.encode(errors="replace"), digest_size=8).hexdigest()
    return f"{int(span_id, 16) ^ number:016x}"


def threshold_of(ratio: float) -> str:
    """Return what the ids of a share of all traces sort before: those are sampled.

    Whoever asks, an id gets the same answer.

    Args:
        ratio: The share, from 0 to 1.
    """
    bound = int(ratio * (1 << 64))
    # No digit comes after f: all are sampled.
    return f"{bound:016x}" if bound < 1 << 64 else "g"
