"""fox stats, fox traces and fox logs, and their formatting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from fox.cli.support.log_text import readable
from fox.cli.support.times import read_duration, read_since, show_ms
from fox.cli.support.waterfall import in_order
from kubefox.pod import LogLine
from kubefox.telemetry import Span, Trace
from tests.fox.cli.conftest import FOX, READY, Cli, visit
from tests.fox.cli.shop import make
from tests.support.nats import NatsServer


@pytest.fixture
def visited(fox: Cli, platform: Path, tmp_path: Path) -> Cli:
    """Commands for a platform whose app ``watched`` has served requests."""
    shop = make(tmp_path, "watched")
    fox("apply", "-f", shop.folder / "environments.yaml")
    fox("deploy", "watched-v1", "--app", shop.folder, "--ref", "v1", "--wait")
    for name in ("Ada", "Grace"):
        visit(platform, f"/watched/watched/{name}?kf-dep=watched-v1&kf-ve=watched&kf-sample=1")
    return fox


def of_watched(fox: Cli) -> list[dict[str, Any]]:
    """Wait until the visits are counted, and return the rows of the components.

    The figures of a process that answers too late are missing.
    """
    while True:
        found = json.loads(fox("stats", "-o", "json").stdout)
        are_visited = any(
            row["deployment"] == "watched-v1" and row["total"]["requests"] >= 2
            for row in found["deployments"]
        )
        components = [
            component
            for component in found["components"]
            if component["component"] == "web" and component["deployments"][0]["app"] == "watched"
        ]
        if are_visited and components:
            return components


def test_stats_list_deployments_and_components(visited: Cli) -> None:
    (web,) = of_watched(visited)
    text = visited("stats").stdout

    (row,) = [line.split() for line in text.splitlines() if line.startswith("watched-v1")]
    assert row[1] == "watched"
    assert int(row[2]) >= 2
    assert web["all"]["total"]["requests"] == web["deployments"][0]["total"]["requests"]
    assert "watched-v1" in visited("stats", "--by", "component").stdout
    assert "COMPONENT" not in visited("stats", "--by", "deployment").stdout


@pytest.mark.parametrize(("output", "begin"), [("json", "{"), ("table", "last ")])
def test_stats_are_repeated_until_ctrl_c(visited: Cli, output: str, begin: str) -> None:
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
        _, printed = process.communicate()

    assert begin in first
    assert process.returncode == 130
    assert "Traceback" not in printed


def traces(fox: Cli) -> list[dict[str, object]]:
    """Wait for two traces of the app, and return its traces."""
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


def test_missing_traces_are_reported(visited: Cli) -> None:
    assert "no trace" in visited("traces", "00000000", code=3).stderr
    assert "no traces" in visited("traces", "--component", "unknown").stderr
    assert "limit" in visited("traces", "--limit", "0", code=2).output


def test_logs_are_filtered_by_deployment_component_and_time(visited: Cli) -> None:
    assert visited("logs", "-d", "watched-v1").stdout == ""
    assert visited("logs", "web", "--since", "2099-01-01").stderr == "no lines\n"
    assert "ready" in visited("logs", "--component", "web", "--since", "1h").stdout
    assert visited("logs", "--since", "2099-01-01").stdout == ""
    printed = visited("logs", "--since", "yesterday", code=2).output
    assert "expected 500ms, 30s, 10m, 2h or 7d, or 2026-11-23T12:00" in " ".join(printed.split())
    assert "both" in visited("logs", "web", "--component", "api", code=2).output


def test_logs_of_an_unknown_name_end_with_3(visited: Cli) -> None:
    assert "component unknown does not exist in any" in visited("logs", "unknown", code=3).stderr
    assert "pod unknown does not exist" in visited("logs", "--pod", "unknown", code=3).stderr
    assert "pod unknown does not exist" in visited("logs", "web", "--pod", "unknown", code=3).stderr
    for option, kind in (
        ("--component", "component"),
        ("-d", "deployment"),
        ("--virtual-env", "virtual environment"),
    ):
        assert f"{kind} unknown" in visited("logs", option, "unknown", code=3).stderr


@pytest.mark.parametrize("names", [["unknown"], ["--pod", "unknown"], ["-d", "unknown"]])
def test_following_an_unknown_name_ends_with_3(visited: Cli, names: list[str]) -> None:
    assert "unknown" in visited("logs", "-f", *names, code=3).stderr


def test_following_a_deployment_without_pods_says_that_it_waits(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    shop = make(tmp_path, "waiting")
    environ = {**own_nats_server.environ, "FOX_CONTROL_PORT": "0"}
    # Without `fox serve pods` there are no pods.
    serving = [*FOX, "serve", "control", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(
        serving, env={**os.environ, **environ}, stdout=subprocess.PIPE, text=True
    ) as control:
        assert control.stdout is not None
        assert control.stdout.readline().strip() == READY
        fox = Cli({"FOX_DATA_DIR": str(tmp_path / "data")})
        fox("deploy", "waiting-v1", "--app", shop.folder, "--ref", "v1", "--no-wait")

        with subprocess.Popen(
            [*FOX, "logs", "-f", "-d", "waiting-v1"],
            env={**os.environ, **fox.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as logs:
            assert logs.stderr is not None
            said = logs.stderr.readline()
            logs.send_signal(signal.SIGINT)
            logs.communicate()
        control.terminate()

    assert said == "no pods yet: waiting for lines until Ctrl-C\n"
    assert logs.returncode == 130


def test_the_lines_of_ended_pods_are_marked(visited: Cli) -> None:
    (pod,) = (
        pod["id"]
        for pod in json.loads(visited("get", "pods", "-o", "json").stdout)
        if (pod["app"], pod["component"]) == ("watched", "web")
    )
    running = visited("logs", "--pod", pod).stdout.splitlines()
    visited("undeploy", "watched-v1")
    while pod in visited("get", "pods").stdout:
        time.sleep(0.02)

    followed = visited("logs", "--pod", pod, "-f")
    documents = visited("logs", "--pod", pod, "-o", "json").stdout.splitlines()

    assert all(line.startswith(f"{pod} ") and "(ended)" not in line for line in running)
    ended = followed.stdout.splitlines()
    assert len(ended) >= len(running) > 0
    assert all(line.startswith(f"{pod} (ended) ") for line in ended)
    assert "nothing to follow" in followed.stderr
    assert all(json.loads(document)["is_ended"] for document in documents)


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
def test_a_span_is_drawn_below_its_parent(
    spans: list[tuple[str, str]], expected: list[tuple[int, str]]
) -> None:
    trace = Trace(trace_id="t", spans=tuple(span(*ids) for ids in spans))

    assert [(depth, drawn.span_id) for depth, drawn in in_order(trace)] == expected


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
def test_a_json_log_line_is_printed_as_text(line: str, text: str) -> None:
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
def test_other_json_of_a_component_is_not_changed(line: str) -> None:
    assert readable(LogLine(pod="p", component="c", hash="h", line=line)) == line


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400)]
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds
    assert read_since(text, 100_000) == 100_000 - seconds


def test_iso_times_are_parsed() -> None:
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
