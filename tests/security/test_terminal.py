"""Text chosen by clients and components sends no control sequence to a reader's terminal."""

from __future__ import annotations

import io

import pytest

from fox.cli.support.failures import report
from fox.cli.support.log_text import readable
from fox.cli.support.tables import print_to, table
from fox.cli.support.waterfall import draw
from kubefox.errors import InvalidRequest
from kubefox.pod import LogLine
from kubefox.telemetry import Span, SpanEvent, Trace

CLIPBOARD = "\x1b]52;c;cm0gLXJm\x07"
CONTROLS = ("\x1b", "\x07", "\x9b", "\r", "\u202e")
EVIL = f"a{CLIPBOARD}\x9b2J\r\u202eb\nforged row"


def test_a_table_shows_control_characters() -> None:
    stream = io.StringIO()

    print_to(stream, table(("NAME", "WHAT"), [(EVIL, EVIL)]))

    assert not any(control in stream.getvalue() for control in CONTROLS)
    assert len(stream.getvalue().splitlines()) == 2


def test_a_trace_shows_control_characters() -> None:
    stream = io.StringIO()
    event = SpanEvent(
        name="exception",
        at_ns=0,
        attributes={"exception.type": EVIL, "exception.message": EVIL},
    )
    span = Span(
        span_id="1",
        parent_id="",
        name=EVIL,
        kind="server",
        service=EVIL,
        pod="p",
        start_ns=0,
        duration_ns=9,
        status=500,
        error=EVIL,
        attributes={"url.path": EVIL, "kubefox.app": EVIL},
        events=(event,),
    )

    draw(Trace(trace_id=EVIL, spans=(span,)), stream)

    assert not any(control in stream.getvalue() for control in CONTROLS)


def test_an_error_shows_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    report(InvalidRequest(EVIL))

    assert not any(control in capsys.readouterr().err for control in CONTROLS)


@pytest.mark.parametrize(
    "evil", [CLIPBOARD, "\x1bc", "\x9d52;c;cm0\x9c", "\x1b[2J", "\rb", "\u202eb"]
)
def test_a_line_of_a_pod_keeps_its_colours_and_shows_other_control_characters(evil: str) -> None:
    line = LogLine(pod="p", app="a", component="c", hash="h", line=f"\x1b[31ma{evil}", at_s=0)

    text = readable(line)

    assert text.startswith("\x1b[31ma")
    assert text[5:].isprintable()
