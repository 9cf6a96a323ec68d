"""A pod as a real process: its settings, its readiness, and the errors of its start."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from fox.kit.loader import load_kit
from fox.kit.pod import load_settings
from tests.fox.kit.pods import MAIN, PATHS, Pods, deploy
from tests.support.data_plane import DataPlane


def test_limits_of_the_platform_apply_to_pods() -> None:
    required = ("NATS_URL", "APP", "COMPONENT", "HASH", "POD", "BUNDLE", "ENTRY")
    who = {f"FOX_{name}": name for name in required}

    default = load_settings(who)
    given = load_settings(
        {
            **who,
            "FOX_BODY_LIMIT_BYTES": "10",
            "FOX_BODY_MEMORY_BYTES": "20",
            "FOX_STREAM_IDLE_S": "0.5",
        }
    )

    assert (default.body_limit_bytes, default.stream_idle_s) == (5 << 20, 60)
    assert (given.body_limit_bytes, given.body_memory_bytes, given.stream_idle_s) == (10, 20, 0.5)


async def test_a_ready_pod_sends_heartbeats(pods: Pods) -> None:
    pod = await pods.start(beats=(0.01, 0.02))
    await pod.wait_ready()

    beats = [pod.last_beat()]
    while len(beats) < 3 or beats[-1].next_s == 0.01:
        if (beat := pod.last_beat()) != beats[-1]:
            beats.append(beat)
        await asyncio.sleep(0)

    # The pod is busy at first, and idle when no event comes.
    assert beats[-1].next_s == 0.02
    assert beats == sorted(beats)
    assert beats[-1].at_s <= time.monotonic()


async def test_an_idle_pod_that_gets_an_event_reports_that_it_is_busy(
    plane: DataPlane, pods: Pods
) -> None:
    await deploy(plane)
    pod = await pods.start(beats=(0.05, 1000))
    await pod.wait_ready()
    while pod.last_beat().next_s != 1000:
        await asyncio.sleep(0)

    answer = await plane.get("/", "v1", "team-a")
    report = await pod.read_ready_pipe()

    assert answer.text == "web v1"
    assert report == b"busy\n"
    assert pod.last_beat().next_s in {0.05, 1000}


async def test_a_ready_pod_answers(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)

    pod = await pods.start()
    await pod.wait_ready()
    answer = await plane.get("/", "v1", "team-a")
    pod.process.terminate()

    assert await pod.wait() == 0
    assert answer.text == "web v1"
    line = pod.find("answering")
    assert {key: line[key] for key in ("level", "order", "deployment", "component", "pod")} == {
        "level": "info",
        "order": 7,
        "deployment": "v1",
        "component": "web",
        "pod": "web-1",
    }


async def test_all_missing_variables_are_named_at_once(pods: Pods) -> None:
    pod = await pods.start(FOX_NATS_URL=None, FOX_HASH="")

    assert await pod.wait() == 1
    assert pod.lines == [
        "error: a pod requires these environment variables: FOX_NATS_URL, FOX_HASH\n"
    ]


@pytest.mark.parametrize(
    ("main", "written"),
    [
        ("import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'"),
        ("kit = 1", "InvalidRequest"),
        ("kit = (", "SyntaxError"),
    ],
)
async def test_broken_code_ends_the_pod_and_logs_the_traceback(
    pods: Pods, main: str, written: str
) -> None:
    pod = await pods.start(main)

    assert await pod.wait() == 1
    line = pod.find("component web cannot be loaded")
    assert written in line["exception"]
    assert line["pod"] == "web-1"


async def test_a_pod_without_nats_logs_the_address_without_the_password(pods: Pods) -> None:
    pod = await pods.start(FOX_NATS_URL="nats://fox:s3cret@")

    assert await pod.wait() == 1
    assert not any("s3cret" in str(line) for line in pod.lines)
    assert any("no NATS at" in str(line) for line in pod.lines)


def test_the_pod_of_these_tests_has_the_deployed_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "components" / "web"
    folder.mkdir(parents=True)
    (folder / "unlike_any_other.py").write_text(MAIN)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "unlike_any_other", raising=False)

    definition = load_kit(tmp_path, "web", "unlike_any_other.py").definition("web")

    assert [route.rule for route in definition.routes] == [f"Path(`{path}`)" for path in PATHS]
