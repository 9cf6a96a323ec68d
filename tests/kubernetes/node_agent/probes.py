"""The probes of a container: whether it has started, is ready, and lives."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from pods.kubernetes.api import Object
from tests.kubernetes.node_agent.fields import UnsupportedError


class Prober:
    """Runs the probes of one process.

    Args:
        container: The container of the pod's spec.
        address: IP address of the pod.
        run: Runs a command like the container's own; returns its exit code.
    """

    def __init__(
        self, container: Object, address: str, run: Callable[[list[str]], Awaitable[int]]
    ) -> None:
        self._container = container
        self._address = address
        self._run = run

    async def wait_failure(self, kind: str) -> str:
        """Probe until it fails too often in a row; return why. Without such a probe, never."""
        probe = self._container.get(kind)
        if probe is None:
            await asyncio.Event().wait()
            return ""
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        failures = 0
        while failures < probe.get("failureThreshold", 3):
            failures = 0 if await self._succeeds(probe) else failures + 1
            await asyncio.sleep(probe.get("periodSeconds", 10))
        return f"its {kind} failed {failures} times"

    async def wait_started(self) -> str:
        """Probe until the container has started; return why it has not, or an empty string."""
        probe = self._container.get("startupProbe")
        if probe is None:
            return ""
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        for _ in range(probe.get("failureThreshold", 3)):
            if await self._succeeds(probe):
                return ""
            await asyncio.sleep(probe.get("periodSeconds", 10))
        return "its startupProbe failed too often"

    async def follow_ready(self, on_ready: Callable[[bool], None]) -> None:
        """Call ``on_ready`` with the readiness whenever it was probed, until cancelled."""
        probe = self._container.get("readinessProbe")
        if probe is None:
            on_ready(True)
            return
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        failures = 0
        while True:
            failures = 0 if await self._succeeds(probe) else failures + 1
            if failures == 0:
                on_ready(True)
            elif failures >= probe.get("failureThreshold", 3):
                on_ready(False)
            await asyncio.sleep(probe.get("periodSeconds", 10))

    async def _succeeds(self, probe: Object) -> bool:
        with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
            async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
                return await self._probe(probe)
        return False

    async def _probe(self, probe: Object) -> bool:
        match probe:
            case {"exec": {"command": list(command)}}:
                return await self._run(command) == 0
            case {"httpGet": dict(request)}:
                return await self._get(self._port(request["port"]), request.get("path", "/"))
            case {"tcpSocket": {"port": port}}:
                _, writer = await asyncio.open_connection(self._address, self._port(port))
                writer.close()
                return True
        raise UnsupportedError(f"probe {probe}")

    async def _get(self, port: int, path: str) -> bool:
        url = f"http://{self._address}:{port}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return 200 <= response.status < 400

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        named = {each.get("name"): each["containerPort"] for each in self._container["ports"]}
        return int(named[port])


async def run_to_end(command: list[str], environ: Mapping[str, str], folder: str) -> int:
    """Run a command and return its exit code; it is killed if this is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environ,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
