"""W3C trace context: parsed, formatted and derived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.runtime import trace_context
from broker.runtime.ids import new_id, span_of
from broker.runtime.trace_context import TraceContext

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
hexadecimal = st.text("0123456789abcdef", min_size=16, max_size=16).filter(lambda x: x.strip("0"))


@pytest.mark.parametrize(
    ("header", "is_sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"  00-{TRACE}-{SPAN}-03 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_valid_traceparent_is_parsed(header: str, is_sampled: bool) -> None:
    assert trace_context.parse(header) == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
    ],
)
def test_an_invalid_traceparent_is_ignored(header: str) -> None:
    assert trace_context.parse(header) is None


@given(hexadecimal, hexadecimal, st.booleans())
def test_a_formatted_traceparent_parses_to_the_same_ids(
    half: str, span_id: str, is_sampled: bool
) -> None:
    written = trace_context.format_traceparent(half * 2, span_id, is_sampled=is_sampled)

    assert trace_context.trace_id_of(written, new_id()) == half * 2
    assert trace_context.parent_id_of(written, new_id()) == span_id
    assert trace_context.parse(written) == TraceContext(half * 2, span_id, is_sampled)


def test_without_a_traceparent_trace_and_parent_ids_come_from_the_event_ids() -> None:
    genesis_id, event_id = new_id(), new_id()

    trace_id = trace_context.trace_id_of("", genesis_id)
    parent_id = trace_context.parent_id_of("", event_id)

    assert (trace_id, parent_id) == (genesis_id, span_of(event_id))
    written = trace_context.format_traceparent(trace_id, parent_id, is_sampled=False)
    assert trace_context.parse(written) == TraceContext(trace_id, parent_id, False)


def test_a_child_traceparent_keeps_the_trace() -> None:
    event_id = new_id()
    outer = trace_context.format_traceparent(TRACE, SPAN, is_sampled=True)

    inner = trace_context.child_traceparent(outer, event_id)

    assert trace_context.parse(inner) == TraceContext(TRACE, span_of(event_id), True)
