"""The parts of a platform as processes of their own, on a NATS of the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import psutil

from examples.demo.platform import credentials, list_objects
from fox.data_dir import KEY_FILE
from kubefox.pod import PodPhase, PodStatus
from tests.faults import two_component_app
from tests.support.nats import NatsServer
from tests.support.nats_cluster import NatsCluster
from tests.support.ports import free_ports

FOX = (sys.executable, "-m", "fox.cli")
READY_S = 120
STOP_S = 60
POLL_S = 0.02
_READY = b"KubeFox is ready\n"


class Part:
    """A running ``fox serve ROLE``.

    Args:
        process: Of the command.
        url: That it printed; empty without one.
    """

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    @property
    def port(self) -> int:
        """Port of ``url``."""
        return int(self.url.rpartition(":")[2])

    async def end(self, how: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(how)
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    def kill_with_pods(self) -> None:
        """Kill the process and all processes below it at once, as a machine that fails."""
        root = psutil.Process(self.process.pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
        for process in (*root.children(recursive=True), root):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


class Parts:
    """The parts on one NATS; made by ``open_parts``.

    Attributes:
        control: ``fox serve control``, started first.
        http: ``fox serve http``.
        folder: For data, logs and the app.
        pods: The running ``fox serve pods``, by the name of their data folder.
    """

    control: Part
    http: Part

    def __init__(
        self,
        nats: NatsServer | NatsCluster,
        folder: Path,
        stack: contextlib.AsyncExitStack,
        environ: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._nats = nats
        self._environ = environ
        self.folder = folder
        self._stack = stack
        self.pods: dict[str, Part] = {}

    async def serve(self, role: str, name: str = "", *, control_port: int = 0) -> Part:
        """Start ``fox serve ROLE``, and return it when it is ready.

        Args:
            role: Part of the platform.
            name: Of its data folder and its log; the role if it is empty.
            control_port: Port of the control API; 0 takes one that stays free after its end.
        """
        name = name or role
        if role == "control" and not control_port:
            (control_port,) = free_ports(1)
        process = await self._start(role, name, control_port)
        self._stack.push_async_callback(_stop, process)
        part = Part(process, await _read_url(process, role in {"http", "control"}))
        if role == "pods":
            self.pods[name] = part
        return part

    async def refuse(self, role: str) -> str:
        """Start ``fox serve ROLE``, which does not become ready, and return its error."""
        log = self.folder / f"{role}.log"
        written = await asyncio.to_thread(log.read_text)
        process = await self._start(role, role, 0)
        async with asyncio.timeout(READY_S):
            assert await process.wait() == 1
        return (await asyncio.to_thread(log.read_text)).removeprefix(written)

    async def _start(self, role: str, name: str, control_port: int) -> asyncio.subprocess.Process:
        environ = {
            **os.environ,
            **self._nats.environ,
            "FOX_DATA_DIR": str(self.folder / name),
            "FOX_KEY_FILE": "" if role == "control" else str(self.folder / "control" / KEY_FILE),
            "FOX_HTTP_PORT": "0",
            "FOX_CONTROL_PORT": str(control_port),
            **self._environ.get(role, {}),
        }
        with (self.folder / f"{name}.log").open("ab") as errors:
            return await asyncio.create_subprocess_exec(
                *(*FOX, "serve", role),
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    async def fox(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run a ``fox`` command, and return its standard output."""
        out, _ = await self.run(*arguments, cwd=cwd)
        return out

    async def run(self, *arguments: str | Path, cwd: Path | None = None) -> tuple[str, str]:
        """Run a ``fox`` command, and return its standard output and its warnings."""
        process = await asyncio.create_subprocess_exec(
            *(*FOX, *arguments),
            cwd=cwd,
            env={
                **os.environ,
                "FOX_CONTROL_URL": self.control.url,
                "FOX_DATA_DIR": str(self.folder / "control"),
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (arguments, out, err)
        return out.decode(), err.decode()

    async def wait_pods(self, condition: Callable[[list[PodStatus]], bool]) -> list[PodStatus]:
        """Return the statuses of the pods as soon as ``condition`` holds for them."""
        headers = await asyncio.to_thread(credentials, self.folder / "control")
        async with asyncio.timeout(READY_S):
            while True:
                listed = await list_objects(self.control.url, headers, "pods")
                pods = msgspec.convert(listed, list[PodStatus])
                if condition(pods):
                    return pods
                await asyncio.sleep(POLL_S)

    async def wait_ready(self, count: int) -> list[PodStatus]:
        """Return the statuses of the pods as soon as there are ``count``, all of them ready."""
        return await self.wait_pods(
            lambda pods: len(pods) == count and all(pod.phase is PodPhase.READY for pod in pods)
        )


@contextlib.asynccontextmanager
async def open_parts(
    nats: NatsServer | NatsCluster,
    folder: Path,
    *,
    runners: int,
    environ: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> AsyncIterator[Parts]:
    """Run control, HTTP and pods until the context ends, with the app of two components deployed.

    Args:
        nats: The nats-server, or several.
        folder: For data, logs and the app.
        runners: Number of ``fox serve pods``: ``pods-1``, ``pods-2``, …
        environ: Further variables of the parts, by role.
    """
    async with contextlib.AsyncExitStack() as stack:
        parts = Parts(nats, folder, stack, environ)
        parts.control, parts.http, *_ = await asyncio.gather(
            parts.serve("control"),
            parts.serve("http"),
            *(parts.serve("pods", f"pods-{number}") for number in range(1, runners + 1)),
        )
        await two_component_app.deploy(parts, folder / "app")
        await parts.wait_ready(2 * runners)
        yield parts
    for log in await asyncio.to_thread(lambda: list(folder.glob("*.log"))):
        assert "forbidden message" not in log.read_text(), log.name


async def _read_url(process: asyncio.subprocess.Process, has_url: bool) -> str:
    """Return the URL that a process prints when it is ready; empty if it prints none."""
    assert process.stdout is not None
    async with asyncio.timeout(READY_S):
        assert await process.stdout.readline() == _READY
        text = (await process.stdout.readline()).decode() if has_url else ""
    found = re.search(r"http://\S+", text)
    return found[0] if found else ""


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    async with asyncio.timeout(STOP_S):
        await process.wait()
