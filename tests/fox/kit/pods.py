"""Pods as real processes, and the component that they serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

from broker.runtime.beat_file import Beat, create_beat_file, read_beat
from fox.kit.kit import Kit
from fox.kit.response import Response
from kubefox import subjects
from kubefox.errors import DeadlineExceeded, NoPodReady
from tests.support.data_plane import APP, DataPlane, digest
from tests.support.senders import sent_by

PROJECT = Path(__file__).parents[3]

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


class Pod:
    """A process of ``fox.kit.pod``; its log is read to the end."""

    def __init__(self, process: Process, ready_fd: int, beat_fd: int) -> None:
        self.process = process
        self._beat_fd = beat_fd
        self._ready_fd = ready_fd
        self.lines: list[dict[str, Any] | str] = []
        self._reading = asyncio.create_task(self._read())

    async def wait_ready(self) -> None:
        assert (await self.read_ready_pipe()).startswith(b"ready\n"), self.lines

    async def read_ready_pipe(self) -> bytes:
        """Return the next bytes on the ready pipe; empty once the pod has closed it."""
        return await asyncio.to_thread(os.read, self._ready_fd, 100)

    def last_beat(self) -> Beat:
        """Return the last heartbeat of a ready pod that sends them."""
        beat = read_beat(self._beat_fd)
        assert beat is not None
        return beat

    async def wait(self) -> int:
        """Return the exit code."""
        await self._reading
        return await self.process.wait()

    def find(self, message: str) -> dict[str, Any]:
        """Return the fields of a line in the log."""
        for line in self.lines:
            if isinstance(line, dict) and line["message"] == message:
                return line
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
    """Starts pods, and kills those that a test leaves."""

    def __init__(self, url: str, bundle: Path) -> None:
        self._url = url
        self._bundle = bundle
        self._started: list[tuple[Process, int, int]] = []

    async def start(
        self,
        main: str = MAIN,
        *,
        leads_session: bool = False,
        beats: tuple[float, float] | None = None,
        **changes: str | None,
    ) -> Pod:
        """Start a pod of component ``web``; None removes an environment variable.

        Args:
            main: Code of the component.
            leads_session: Whether it leads a session of its own.
            beats: Times between two heartbeats of a busy and of an idle pod.
            changes: Environment variables.
        """
        folder = self._bundle / "components" / "web"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.py").write_text(main)
        reading, writing = os.pipe()
        beat_fd = create_beat_file()
        if beats is not None:
            changes["FOX_BEAT_FD"] = str(beat_fd)
            changes["FOX_BEAT_S"], changes["FOX_IDLE_BEAT_S"] = map(str, beats)
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("FOX_")
        }
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
            pass_fds=(writing, beat_fd),
            start_new_session=leads_session,
        )
        os.close(writing)
        self._started.append((process, reading, beat_fd))
        return Pod(process, reading, beat_fd)

    async def end(self) -> None:
        for process, ready_fd, beat_fd in self._started:
            if process.returncode is None:
                process.kill()
            await process.wait()
            os.close(ready_fd)
            os.close(beat_fd)


async def deploy(plane: DataPlane) -> None:
    """Deploy the code above."""
    kit = Kit()
    kit.component("pod-tests")
    for path in PATHS:
        rule = f"Path(`{path}`)"
        kit.route(rule)(_in_the_pod)
    await plane.deploy("v1", {"web": kit, "pod-tests": Kit()})


async def _in_the_pod(ctx: object) -> None: ...


class BlockingComponent:
    """A component that answers when it is released."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.released = asyncio.Event()
        self.kit = Kit()
        self.kit.default(self._answer)

    async def _answer(self, ctx: object) -> None:
        self.called.set()
        await self.released.wait()


async def start_blocked_request(
    plane: DataPlane,
) -> tuple[BlockingComponent, asyncio.Task[Response]]:
    """Return when the pod handles a request that waits for ``pod-tests``."""
    blocking = BlockingComponent()
    await plane.start("pod-tests", blocking.kit)
    request = asyncio.create_task(plane.get("/slow", "v1", "team-a"))
    await blocking.called.wait()
    return blocking, request


async def wait_gone(plane: DataPlane) -> None:
    """Return when no pod of ``web`` is subscribed."""
    target = subjects.component(APP, "web", digest("v1"))
    while True:
        try:
            await plane.broker.bus.request(sent_by("test", target), b"", 1)
        except NoPodReady:
            return
        except DeadlineExceeded:
            continue  # it died with the request
