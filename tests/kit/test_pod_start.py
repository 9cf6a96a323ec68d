"""A pod as a real process: what it needs, when it is ready, and how it says that it cannot be."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from fox.kit.loader import load_kit
from fox.kit.pod import load_settings
from tests.kit.pods import MAIN, PATHS, Pods, deploy
from tests.support.data_plane import DataPlane


def test_limits_of_the_platform_are_the_pods_too() -> None:
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


async def test_a_ready_pod_says_again_and_again_that_its_loop_runs(pods: Pods) -> None:
    pod = await pods.start(FOX_BEAT_S="0.01")

    told = b""
    while told.count(b"\n") < 4:
        told += await pod.read_told()

    # What was read may end within a line.
    ready, *beats = told.rpartition(b"\n")[0].splitlines()
    assert ready == b"ready"
    times_s = [float(beat.removeprefix(b"alive ")) for beat in beats]
    assert times_s == sorted(times_s)
    # They are told in whole milliseconds.
    assert all(each <= time.monotonic() + 0.001 for each in times_s)


async def test_a_pod_is_ready_when_it_answers(plane: DataPlane, pods: Pods) -> None:
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


async def test_missing_variables_are_named_all_at_once(pods: Pods) -> None:
    pod = await pods.start(FOX_NATS_URL=None, FOX_HASH="")

    assert await pod.wait() == 1
    assert pod.lines == ["error: a pod needs these variables: FOX_NATS_URL, FOX_HASH\n"]


@pytest.mark.parametrize(
    ("main", "told"),
    [
        ("import nothing_there", "ModuleNotFoundError: No module named 'nothing_there'"),
        ("kit = 1", "InvalidRequest"),
        ("kit = (", "SyntaxError"),
    ],
)
async def test_broken_code_ends_the_pod_with_its_traceback_in_the_log(
    pods: Pods, main: str, told: str
) -> None:
    pod = await pods.start(main)

    assert await pod.wait() == 1
    line = pod.find("component web cannot be loaded")
    assert told in line["exception"]
    assert line["pod"] == "web-1"


async def test_a_pod_that_cannot_reach_nats_says_so_without_the_password(pods: Pods) -> None:
    pod = await pods.start(FOX_NATS_URL="nats://fox:s3cret@")

    assert await pod.wait() == 1
    assert not any("s3cret" in str(each) for each in pod.lines)
    assert any("no NATS at" in str(each) for each in pod.lines)


def test_the_kit_of_a_pod_is_the_one_that_was_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "components" / "web"
    folder.mkdir(parents=True)
    (folder / "unlike_any_other.py").write_text(MAIN)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.delitem(sys.modules, "unlike_any_other", raising=False)

    definition = load_kit(tmp_path, "web", "unlike_any_other.py").definition("web")

    assert [each.rule for each in definition.routes] == [f"Path(`{path}`)" for path in PATHS]
