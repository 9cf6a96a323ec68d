"""stats, traces and what makes them readable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
import typer

from fox.cli.log_text import readable
from fox.cli.times import read_duration, read_since, show_ms
from fox.cli.waterfall import in_order
from model.pod import LogLine
from model.telemetry import Span, Trace
from tests.cli.conftest import FOX, Cli, visit
from tests.cli.shop import make


@pytest.fixture
def visited(fox: Cli, platform: Path, tmp_path: Path) -> Cli:
    """Commands for a platform whose app ``watched`` has had visitors."""
    shop = make(tmp_path, "watched")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "watched-v1", "--app", shop.folder, "--ref", "v1", "--wait")
    for name in ("Ada", "Grace"):
        visit(platform, f"/watched/watched/{name}?kf-dep=watched-v1&kf-ve=watched&kf-sample=1")
    return fox


def test_stats_name_deployments_and_components(visited: Cli) -> None:
    text = visited("stats").stdout
    found = json.loads(visited("stats", "-o", "json").stdout)

    (row,) = [line.split() for line in text.splitlines() if line.startswith("watched-v1")]
    assert row[1] == "watched"
    assert int(row[2]) >= 2
    (web,) = [
        each
        for each in found["components"]
        if each["component"] == "web" and each["deployments"][0]["app"] == "watched"
    ]
    assert web["all"]["total"]["requests"] == web["deployments"][0]["total"]["requests"]
    assert "watched-v1" in visited("stats", "--by", "component").stdout
    assert "COMPONENT" not in visited("stats", "--by", "deployment").stdout


@pytest.mark.parametrize(("output", "begin"), [("json", "{"), ("table", "last ")])
def test_stats_are_watched_until_ctrl_c(visited: Cli, output: str, begin: str) -> None:
    with subprocess.Popen(
        [*FOX, "stats", "--watch", "-o", output],
        env={**os.environ, **visited.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)

    assert begin in first
    assert process.returncode == 130
    assert "Traceback" not in said


def traces(fox: Cli) -> list[dict[str, object]]:
    """Return the traces of the app once they are there."""
    while True:
        listed = fox("traces", "-d", "watched-v1", "-o", "json").stdout
        found: list[dict[str, object]] = json.loads(listed)
        if len(found) >= 2:
            return found
        time.sleep(0.02)


def test_a_trace_is_listed_and_drawn(visited: Cli) -> None:
    first = traces(visited)[0]

    listed = visited("traces", "--deployment", "watched-v1", "--virtual-env", "watched").stdout
    drawn = visited("traces", str(first["trace_id"])[:10]).stdout
    found = msgspec.json.decode(
        visited("traces", str(first["trace_id"]), "-o", "json").stdout, type=Trace
    )

    assert str(first["trace_id"])[:12] in listed
    assert "GET /watched/watched/" in listed
    assert "process web: GET /watched/watched/" in drawn
    assert "█" in drawn
    assert found.trace_id == first["trace_id"]


def test_what_is_not_traced_is_said(visited: Cli) -> None:
    assert "no trace" in visited("traces", "00000000", code=3).stderr
    assert "no traces" in visited("traces", "--component", "nobody").stderr
    assert "limit" in visited("traces", "--limit", "0", code=2).output


def test_logs_are_narrowed_by_what_handlers_were_at_work_for(visited: Cli) -> None:
    assert visited("logs", "-d", "watched-v1").stdout == ""
    assert visited("logs", "web", "--since", "2099-01-01").stderr == "no lines\n"
    assert "ready" in visited("logs", "--component", "web", "--since", "1h").stdout
    assert visited("logs", "--since", "2099-01-01").stdout == ""
    said = visited("logs", "--since", "yesterday", code=2).output
    assert "expected such as 500ms, 30s, 10m, 2h, or 2026-11-23T12:00" in " ".join(said.split())
    assert "both" in visited("logs", "web", "--component", "api", code=2).output


def test_logs_of_what_is_not_there_end_with_3(visited: Cli) -> None:
    assert "no component nobody in any deployment" in visited("logs", "nobody", code=3).stderr
    assert "there is no pod nobody" in visited("logs", "--pod", "nobody", code=3).stderr
    assert "no pod nobody" in visited("logs", "web", "--pod", "nobody", code=3).stderr


def span(span_id: str, parent_id: str = "") -> Span:
    return Span(
        span_id=span_id,
        parent_id=parent_id,
        name=span_id,
        kind="server",
        service="web",
        pod="",
        start_ns=0,
        duration_ns=1,
        status=0,
        error="",
        attributes={},
    )


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([("b", "a"), ("a", ""), ("c", "b"), ("d", "a")], [(0, "a"), (1, "b"), (2, "c"), (1, "d")]),
        ([("a", "elsewhere"), ("b", "a")], [(0, "a"), (1, "b")]),
        ([("a", "b"), ("b", "a")], []),
        ([("x", ""), ("a", "b"), ("b", "a")], [(0, "x")]),
    ],
)
def test_a_span_stands_below_its_parent(
    spans: list[tuple[str, str]], expected: list[tuple[int, str]]
) -> None:
    trace = Trace(trace_id="t", spans=tuple(span(*each) for each in spans))

    assert [(depth, each.span_id) for depth, each in in_order(trace)] == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("printed", "printed"),
        ('{"a": 1}', '{"a": 1}'),
        (
            '{"time": "2026-01-02T03:04:05.678+00:00", "level": "info", "message": "on", "to": 7}',
            "03:04:05.678 info    on to=7",
        ),
        (
            '{"time": "now", "level": "error", "message": "no", "exception": "Trace\\nback"}',
            "now error   no\nTrace\nback",
        ),
        (
            r'{"time": "now", "level": "info", "message": "a\n\u001b[2J", "exception": "\u001b"}',
            "now info    a\\n\\x1b[2J\n\\x1b",
        ),
        (
            '{"time": "0001-01-01T00:00+14:00", "level": "info", "message": "old"}',
            "0001-01-01T00:00+14:00 info    old",
        ),
    ],
)
def test_a_log_line_is_made_readable(line: str, text: str) -> None:
    assert readable(LogLine(pod="p", component="c", hash="h", line=line)) == text


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "now", "level": null, "message": "hi"}',
        '{"time": "now", "level": [], "message": "hi"}',
        '{"time": 1, "level": "info", "message": "hi"}',
        '{"time": "now", "level": "info", "message": {"a": 1}}',
    ],
)
def test_a_components_own_json_is_shown_as_it_was_printed(line: str) -> None:
    assert readable(LogLine(pod="p", component="c", hash="h", line=line)) == line


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds
    assert read_since(text, 100_000) == 100_000 - seconds


def test_a_moment_is_read() -> None:
    assert read_since("2026-01-01T00:00:00+00:00", 0) == 1_767_225_600
    for none in ("tomorrow", "0001-01-01T00:00+14:00"):
        with pytest.raises(typer.BadParameter):
            read_since(none, 0)


@pytest.mark.parametrize(
    ("duration_ms", "shown"),
    [
        (None, ""),
        (0.04, "0.04 ms"),
        (4.2, "4.20 ms"),
        (37.12, "37.1 ms"),
        (420.0, "420 ms"),
        (1_204.0, "1.20 s"),
    ],
)
def test_durations_are_shown_with_three_digits(duration_ms: float | None, shown: str) -> None:
    assert show_ms(duration_ms) == shown
