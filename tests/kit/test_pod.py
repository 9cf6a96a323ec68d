"""A pod as a real process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fox.kit.kit import Kit
from fox.kit.loader import load_kit
from fox.kit.pod import load_settings
from fox.kit.response import Response
from model import subjects
from model.errors import DeadlineExceeded, NatsUnavailable, NoPodReady
from tests.e2e.processes import is_alive
from tests.support.data_plane import APP, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer

PROJECT = Path(__file__).parents[2]

MAIN = """
import asyncio
from fox import Kit

kit = Kit()
api = kit.component("pod-tests")

@kit.route("Path(`/`)")
async def answer(ctx):
    print("to standard output")
    ctx.log.info("answering", order=7)
    return f"{ctx.component} {ctx.deployment}"

@kit.route("Path(`/slow`)")
async def slow(ctx):
    await api.get("/", ctx=ctx)
    return "done"

@kit.route("Path(`/exit`)")
async def leave(ctx):
    async def exit_in_a_task():
        raise SystemExit(0)
    await asyncio.create_task(exit_in_a_task())

@kit.route("Path(`/child`)")
async def start_a_child(ctx):
    return str((await asyncio.create_subprocess_exec("sleep", "1000")).pid)
"""

PATHS = ("/", "/slow", "/exit", "/child")


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


class Pod:
    """A process of ``fox.kit.pod``; what it logs is read to the end."""

    def __init__(self, process: Process, ready_fd: int) -> None:
        self.process = process
        self._ready_fd = ready_fd
        self.lines: list[dict[str, Any] | str] = []
        self._reading = asyncio.create_task(self._read())

    async def wait_ready(self) -> None:
        assert (await self.read_told()).startswith(b"ready\n"), self.lines

    async def read_told(self) -> bytes:
        """Return what it tells its driver next; nothing once it has closed the descriptor."""
        return await asyncio.to_thread(os.read, self._ready_fd, 100)

    async def wait(self) -> int:
        """Return the exit code."""
        await self._reading
        return await self.process.wait()

    def find(self, message: str) -> dict[str, Any]:
        """Return the fields of a line in the log."""
        for each in self.lines:
            if isinstance(each, dict) and each["message"] == message:
                return each
        raise AssertionError(f"{message!r} was not logged: {self.lines}")

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            line = raw.decode()
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(line))
                continue
            self.lines.append(line)


class Pods:
    """Starts pods, and ends those that a test leaves."""

    def __init__(self, url: str, bundle: Path) -> None:
        self._url = url
        self._bundle = bundle
        self._started: list[tuple[Process, int]] = []

    async def start(
        self, main: str = MAIN, *, leads_session: bool = False, **changes: str | None
    ) -> Pod:
        """Start a pod of component ``web``; None takes a variable away."""
        folder = self._bundle / "components" / "web"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.py").write_text(main)
        reading, writing = os.pipe()
        inherited = {each: os.environ[each] for each in os.environ if not each.startswith("FOX_")}
        variables: dict[str, str | None] = {
            **inherited,
            "FOX_NATS_URL": self._url,
            "FOX_APP": APP,
            "FOX_COMPONENT": "web",
            "FOX_HASH": digest("v1"),
            "FOX_POD": "web-1",
            "FOX_BUNDLE": str(self._bundle),
            "FOX_ENTRY": "main.py",
            "FOX_READY_FD": str(writing),
            "FOX_LIFELINE": "stdin",
            **changes,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fox.kit.pod",
            cwd=PROJECT,
            env={name: value for name, value in variables.items() if value is not None},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=leads_session,
        )
        os.close(writing)
        self._started.append((process, reading))
        return Pod(process, reading)

    async def end(self) -> None:
        for process, ready_fd in self._started:
            if process.returncode is None:
                process.kill()
            await process.wait()
            os.close(ready_fd)


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[DataPlane]:
    async with open_data_plane(own_nats_server.url) as plane:
        await plane.virtual_environment("team-a")
        yield plane


@pytest.fixture
async def pods(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Pods]:
    pods = Pods(own_nats_server.url, tmp_path / "bundle")
    yield pods
    await pods.end()


async def deploy(plane: DataPlane) -> None:
    """Deploy the code above."""
    kit = Kit()
    kit.component("pod-tests")
    for path in PATHS:
        rule = f"Path(`{path}`)"
        kit.route(rule)(_in_the_pod)
    await plane.deploy("v1", {"web": kit, "pod-tests": Kit()})


async def _in_the_pod(ctx: object) -> None: ...


class Held:
    """A component that keeps its callers waiting."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.released = asyncio.Event()
        self.kit = Kit()
        self.kit.default(self._answer)

    async def _answer(self, ctx: object) -> None:
        self.called.set()
        await self.released.wait()


async def hold(plane: DataPlane) -> tuple[Held, asyncio.Task[Response]]:
    """Return when a request is in the pod's hands, waiting for the component below."""
    held = Held()
    await plane.start("pod-tests", held.kit)
    request = asyncio.create_task(plane.get("/slow", "v1", "team-a"))
    await held.called.wait()
    return held, request


async def wait_gone(plane: DataPlane) -> None:
    """Return when no pod of ``web`` is subscribed."""
    target = subjects.component(APP, "web", digest("v1"))
    while True:
        try:
            await plane.broker.bus.request(target, b"", 1)
        except NoPodReady:
            return
        except DeadlineExceeded:
            continue  # it died with the question


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_what_is_in_flight(
    plane: DataPlane, pods: Pods, number: signal.Signals
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    held, request = await hold(plane)

    pod.process.send_signal(number)
    await wait_gone(plane)
    assert pod.process.returncode is None
    held.released.set()

    assert (await request).text == "done"
    assert await pod.wait() == 0


async def test_a_second_signal_forces(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    held, request = await hold(plane)

    pod.process.terminate()
    await wait_gone(plane)
    pod.process.terminate()

    assert await pod.wait() == 1
    request.cancel()
    held.released.set()


async def test_the_end_of_the_lifeline_drains_too(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    held, request = await hold(plane)
    assert pod.process.stdin is not None

    pod.process.stdin.close()
    await wait_gone(plane)
    held.released.set()

    assert (await request).text == "done"
    assert await pod.wait() == 0


async def test_what_a_pod_started_ends_with_its_lifeline(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start(leads_session=True)
    await pod.wait_ready()
    child = int((await plane.get("/child", "v1", "team-a")).text)
    assert pod.process.stdin is not None

    pod.process.stdin.close()
    await pod.wait()

    while is_alive(child):
        await asyncio.sleep(0)


async def test_a_component_that_ends_its_event_loop_ends_the_pod_at_once(
    plane: DataPlane, pods: Pods
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    request = asyncio.create_task(plane.get("/exit", "v1", "team-a"))

    assert await pod.wait() == 1
    assert "SystemExit" in pod.find("the component ended its event loop")["exception"]
    request.cancel()


async def test_without_a_lifeline_standard_input_does_not_matter(
    plane: DataPlane, pods: Pods
) -> None:
    await deploy(plane)
    pod = await pods.start(FOX_LIFELINE=None)
    assert pod.process.stdin is not None
    pod.process.stdin.close()
    await pod.wait_ready()

    assert (await plane.get("/", "v1", "team-a")).text == "web v1"


async def test_a_killed_pod_leaves_nothing_behind(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    pod.process.kill()

    assert await pod.wait() == -signal.SIGKILL
    await wait_gone(plane)


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


async def test_a_pod_outlives_a_restart_of_nats(
    plane: DataPlane, pods: Pods, own_nats_server: NatsServer
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    await asyncio.to_thread(own_nats_server.restart)
    while True:
        try:
            answer = await plane.get("/", "v1", "team-a")
        except (NatsUnavailable, NoPodReady):
            await asyncio.sleep(0)
        else:
            break

    assert answer.text == "web v1"
    assert pod.process.returncode is None


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
