"""One container: a local process with its probes, its restarts and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from broker.runtime.process_tree import end_with_parent
from pods.kubernetes.api import Object
from tests.kubernetes.node_agent.container_log import ContainerLog
from tests.kubernetes.node_agent.memory import memory_limit, wait_exceeded
from tests.kubernetes.node_agent.probes import Prober, run_to_end

_MAX_RESTART_S = 10.0
_STEP_S = 0.02
_MESSAGE_BYTES = 2048
_OUTPUT_S = 1.0


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a container's process is started.

    Attributes:
        command: Program and arguments.
        environ: Its whole environment.
        folder: Working folder.
        log: File for its output.
        address: IP address of the pod.
    """

    command: list[str]
    environ: Mapping[str, str]
    folder: Path
    log: Path
    address: str


class Container:
    """One container of a pod.

    Args:
        spec: Of the pod's spec.
        launch: How its process is started.
        localize: Returns a command with the paths of mounts replaced.
        restarts: Returns whether it is started again after this exit code.
        on_change: Called when its status has changed.

    Attributes:
        log: Its output.
    """

    def __init__(
        self,
        spec: Object,
        launch: Launch,
        localize: Callable[[list[str]], list[str]],
        restarts: Callable[[int], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._spec = spec
        self._launch = launch
        self.log = ContainerLog(launch.log)
        self._localize = localize
        self._restarts = restarts
        self._on_change = on_change
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._is_out_of_memory = False
        self._is_ready = False
        self._is_started = False
        self._restart_count = 0
        self._state: Object = {"waiting": {"reason": "ContainerCreating"}}
        self._last_state: Object = {}

    @property
    def is_ready(self) -> bool:
        """Whether it is ready."""
        return self._is_ready

    @property
    def exit_code(self) -> int | None:
        """The code with which it has ended; None while it runs or is to run again."""
        ended = self._state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def status(self) -> Object:
        """Return its part of ``status.containerStatuses``."""
        return {
            "name": self._spec["name"],
            "image": self._spec["image"],
            "imageID": "",
            "ready": self._is_ready,
            "started": self._is_started,
            "restartCount": self._restart_count,
            "state": self._state,
            "lastState": self._last_state,
        }

    def place(self, command: list[str]) -> Object:
        """Return how a command runs in it, and the address of its pod."""
        environ, localized = self._launch.environ, self._localize(command)
        program = [shutil.which(name, path=environ["PATH"]) or name for name in localized[:1]]
        return {
            "address": self._launch.address,
            "command": [*program, *localized[1:]],
            "environ": [f"{name}={value}" for name, value in environ.items()],
            "folder": str(self._launch.folder),
        }

    async def run(self) -> None:
        """Run until it has ended for good."""
        delay_s = 0.0
        while not self._stopping.is_set():
            code = await self._run_once()
            if self._stopping.is_set() or not self._restarts(code):
                return
            self._last_state = self._state
            self._set_state({"waiting": {"reason": "CrashLoopBackOff"}})
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay_s)
            if self._stopping.is_set():
                self._state = self._last_state
                return
            delay_s = min(2 * delay_s + 1, _MAX_RESTART_S)
            self._restart_count += 1

    async def stop(self, remaining_s: Callable[[], float]) -> None:
        """End it: pre-stop hook, SIGTERM, and SIGKILL when no time remains."""
        self._stopping.set()
        async with self._starting:
            process = self._process
        if process is None or process.returncode is not None:
            return
        if hook := self._spec.get("lifecycle", {}).get("preStop", {}).get("exec"):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exec(hook["command"]), max(remaining_s(), 0))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        while process.returncode is None and remaining_s() > 0:
            await asyncio.sleep(_STEP_S)
        self.kill()

    def kill(self) -> None:
        """End its processes at once, and start no more."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            _kill_session(self._process.pid)

    async def _run_once(self) -> int:
        started_s = time.time()
        try:
            async with self._starting:
                process, pipe = await self._start()
                self._process = process
        except OSError as error:
            self._set_state(_ended(128, "StartError", str(error), started_s))
            return 128
        self._set_state({"running": {"startedAt": timestamp(started_s)}})
        copying = asyncio.create_task(self.log.copy(pipe))
        probing = asyncio.create_task(self._probe())
        self._is_out_of_memory = False
        watching = asyncio.create_task(self._watch_memory(process.pid))
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            watching.cancel()
            _kill_session(process.pid)
            # A process of another session may hold the pipe open.
            await asyncio.wait([copying], timeout=_OUTPUT_S)
            copying.cancel()
            await asyncio.wait([probing, watching, copying])
            self.log.end()
        self._is_ready = self._is_started = False
        code = 128 - code if code < 0 else code
        reason = "Completed" if code == 0 else "Error"
        if self._is_out_of_memory:
            reason = "OOMKilled"
        self._set_state(_ended(code, reason, self._message(code), started_s))
        return code

    async def _start(self) -> tuple[asyncio.subprocess.Process, int]:
        """Return a new process, and the pipe with its output."""
        # With a pipe of asyncio, the end of a process would wait for all that hold the pipe.
        output, end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._launch.command,
                env=self._launch.environ,
                cwd=self._launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=end,
                stderr=end,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGKILL),
            )
        except OSError:
            os.close(output)
            raise
        finally:
            os.close(end)
        self.log.begin()
        return process, output

    async def _probe(self) -> None:
        prober = Prober(self._spec, self._launch.address, self._exec)
        failure = await prober.wait_started()
        if not failure:
            self._is_started = True
            self._on_change()
            readiness = asyncio.create_task(prober.follow_ready(self._set_ready))
            try:
                failure = await prober.wait_failure("livenessProbe")
            finally:
                readiness.cancel()
        self.log.append(f"the container is killed: {failure}\n".encode())
        assert self._process is not None
        _kill_session(self._process.pid)

    async def _watch_memory(self, pid: int) -> None:
        await wait_exceeded(pid, memory_limit(self._spec))
        self._is_out_of_memory = True
        _kill_session(pid)

    async def _exec(self, command: list[str]) -> int:
        folder = str(self._launch.folder)
        return await run_to_end(self._localize(command), self._launch.environ, folder)

    def _set_ready(self, is_ready: bool) -> None:
        if is_ready is not self._is_ready:
            self._is_ready = is_ready
            self._on_change()

    def _set_state(self, state: Object) -> None:
        self._state = state
        self._on_change()

    def _message(self, code: int) -> str:
        """Return the termination message: the end of its output, if its policy says so."""
        if code == 0 or self._spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return self.log.texts()[-_MESSAGE_BYTES:].decode(errors="replace")


def timestamp(unix_s: float) -> str:
    """Return a time as Kubernetes writes it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ended(code: int, reason: str, message: str, started_s: float) -> Object:
    times = {"startedAt": timestamp(started_s), "finishedAt": timestamp(time.time())}
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, **times}}


def _kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
