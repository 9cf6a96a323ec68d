"""A platform of one's own: ``fox up`` as a process, and the ``fox`` commands against it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sysconfig
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from fox.data_dir import read_info
from model.component import short

FOX = Path(sysconfig.get_path("scripts"), "fox")
READY_S = 30
STOP_S = 40
PODS_S = 40
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str


class CommandFailed(Exception):
    """A command ended with another exit code than 0."""


class Platform:
    """``fox up`` on loopback, from entry to exit.

    Args:
        data_dir: What the platform keeps lies here; a second platform on it finds it again.
        http_port: Of the HTTP adapter; 0 takes a free one.
    """

    def __init__(self, data_dir: Path, *, http_port: int = 0) -> None:
        """Start nothing yet."""
        self.data_dir = data_dir
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self.http_url = ""
        self.control_url = ""
        self._http_port = http_port
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start it and wait until it is ready."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it as Ctrl-C does."""
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The ``fox up`` that was started last."""
        if self._process is None:
            raise RuntimeError("the platform has not been started")
        return self._process

    async def start(self) -> None:
        """Start ``fox up`` and wait until it says that it is ready.

        Raises:
            CommandFailed: It ended instead, or was not ready in time.
        """
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                FOX,
                "up",
                env=self._environ(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C reaches every process of a terminal's group: this one is asked by us alone.
                start_new_session=True,
            )
        try:
            await wait_for(self._is_ready, READY_S)
        except TimeoutError as error:
            raise CommandFailed(f"fox up was not ready:\n{self.log.read_text()}") from error
        finally:
            if not self.http_url:
                await self.stop(signal.SIGKILL)

    async def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end and return its exit code; one that does not end in time is killed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            async with asyncio.timeout(STOP_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()

    async def run(self, *arguments: str | Path, cwd: Path | None = None) -> Finished:
        """Run a ``fox`` command against this platform."""
        process = await asyncio.create_subprocess_exec(
            FOX,
            *arguments,
            cwd=cwd,
            env=self._environ(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Finished(code=process.returncode or 0, out=out.decode(), err=err.decode())

    async def fox(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run a ``fox`` command and return what it prints.

        Raises:
            CommandFailed: Its exit code is not 0.
        """
        done = await self.run(*arguments, cwd=cwd)
        if done.code:
            command = " ".join(map(str, arguments))
            raise CommandFailed(f"fox {command} ended with {done.code}:\n{done.out}{done.err}")
        return done.out

    async def get(self, kind: str) -> list[dict[str, Any]]:
        """Return every object that ``fox get KIND`` lists, without its revision."""
        listed = json.loads(await self.fox("get", kind, "-o", "json"))
        return [each.get("object", each) for each in listed]

    async def pods(self) -> list[dict[str, Any]]:
        """Return the status of every pod."""
        return await self.get("pods")

    async def pod_of(self, component: str, digest: str) -> dict[str, Any]:
        """Return the status of the pod of a component version, named by its short hash."""
        return next(
            pod
            for pod in await self.pods()
            if pod["component"] == component and pod["hash"].startswith(digest)
        )

    async def versions(self) -> dict[str, dict[str, str]]:
        """Return the short hash of each component of each deployment."""
        return {
            each["name"]: {name: short(digest) for name, digest in each["components"].items()}
            for each in await self.get("deployments")
        }

    async def wait_pods(self, count: int) -> None:
        """Wait until there are ``count`` pods.

        Raises:
            TimeoutError: There are not in time.
        """

        async def reached() -> bool:
            return len(await self.pods()) == count

        await wait_for(reached, PODS_S)

    def _environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "FOX_DATA_DIR": str(self.data_dir),
            "FOX_HTTP_PORT": str(self._http_port),
            "FOX_CONTROL_PORT": "0",
        }

    async def _is_ready(self) -> bool:
        if self.process.returncode is not None:
            raise CommandFailed(f"fox up ended:\n{self.log.read_text()}")
        info = await asyncio.to_thread(read_info, self.data_dir)
        # A platform that was killed has left its own behind.
        if info is None or info.pid != self.process.pid:
            return False
        if await _says_ready(info.control_url):
            self.http_url, self.control_url = info.http_url, info.control_url
        return bool(self.http_url)


async def _says_ready(control_url: str) -> bool:
    try:
        async with aiohttp.request("GET", f"{control_url}/readyz") as response:
            return response.status == HTTPStatus.OK
    except aiohttp.ClientError:
        return False


async def wait_for(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait until ``condition`` holds.

    Raises:
        TimeoutError: It did not within ``timeout_s``.
    """
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - it lies in another process
            await asyncio.sleep(POLL_S)
