"""W3C trace context: what is taken over, what is not, and what is made anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ids import new_id, span_of
from broker.telemetry import trace_context
from broker.telemetry.trace_context import TraceContext

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
def test_a_trace_of_the_client_is_gone_on_with(header: str, is_sampled: bool) -> None:
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
def test_what_is_no_trace_context_is_not_trusted(header: str) -> None:
    assert trace_context.parse(header) is None


@given(hexadecimal, hexadecimal, st.booleans())
def test_what_is_written_is_read_again(half: str, span_id: str, is_sampled: bool) -> None:
    written = trace_context.write(half * 2, span_id, is_sampled=is_sampled)

    assert trace_context.trace_id_of(written, new_id()) == half * 2
    assert trace_context.parent_id_of(written, new_id()) == span_id
    assert trace_context.parse(written) == TraceContext(half * 2, span_id, is_sampled)


def test_an_event_without_a_trace_context_tells_its_trace_by_its_ids() -> None:
    genesis_id, event_id = new_id(), new_id()

    trace_id = trace_context.trace_id_of("", genesis_id)
    parent_id = trace_context.parent_id_of("", event_id)

    assert (trace_id, parent_id) == (genesis_id, span_of(event_id))
    written = trace_context.write(trace_id, parent_id, is_sampled=False)
    assert trace_context.parse(written) == TraceContext(trace_id, parent_id, False)


def test_what_is_sent_within_a_trace_belongs_to_it() -> None:
    event_id = new_id()
    outer = trace_context.write(TRACE, SPAN, is_sampled=True)

    inner = trace_context.with_parent(outer, event_id)

    assert trace_context.parse(inner) == TraceContext(TRACE, span_of(event_id), True)
