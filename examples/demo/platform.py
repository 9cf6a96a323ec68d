"""A platform for one demo or test: ``fox up`` as a process, and ``fox`` commands for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sysconfig
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp

from fox.data_dir import read_info
from fox.owner_token import TOKEN_FILE, read_private
from kubefox.component import short

FOX = Path(sysconfig.get_path("scripts"), "fox")
READY_S = 60
STOP_S = 60
PODS_S = 60
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


class CommandFailed(Exception):
    """The exit code of a command is not 0."""


class Platform:
    """``fox up`` on loopback, from entry to exit of the context.

    Args:
        data_dir: Data folder of the platform; it can be used again by a later platform.
        http_port: Port of the HTTP adapter; 0 takes any free port.

    Attributes:
        http_url: URL for the requests of end users.
        control_url: URL of the control API.
        credentials: Header with the owner's token, for requests to the control API.
    """

    def __init__(self, data_dir: Path, *, http_port: int = 0) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self.http_url = ""
        self.control_url = ""
        self.credentials: dict[str, str] = {}
        self._http_port = http_port
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process of ``fox up`` that was started last."""
        if self._process is None:
            raise RuntimeError("the platform has not been started")
        return self._process

    async def start(self) -> None:
        """Start ``fox up``, and wait until it is ready.

        Raises:
            CommandFailed: ``fox up`` ended, or was not ready in time.
        """
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                FOX,
                "up",
                env=self._environ(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C would reach the whole process group; `stop` sends the signal instead.
                start_new_session=True,
            )
        try:
            await wait_for(self._is_ready, READY_S)
        except TimeoutError as error:
            raise CommandFailed(f"fox up was not ready:\n{self.log.read_text()}") from error
        finally:
            if not self.http_url:
                await self.stop(signal.SIGKILL)

    async def stop(self, stop_signal: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and return the exit code; a process that does not end in time is killed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(stop_signal)
        try:
            async with asyncio.timeout(STOP_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()

    async def run(self, *arguments: str | Path, cwd: Path | None = None) -> Finished:
        """Run a ``fox`` command for this platform."""
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
        """Run a ``fox`` command, and return its standard output.

        Raises:
            CommandFailed: Its exit code is not 0.
        """
        done = await self.run(*arguments, cwd=cwd)
        if done.code:
            command = " ".join(map(str, arguments))
            raise CommandFailed(f"fox {command} ended with {done.code}:\n{done.out}{done.err}")
        return done.out

    async def get(self, kind: str) -> list[dict[str, Any]]:
        """Return the objects of a kind without their revisions; see ``list_objects``."""
        return await list_objects(self.control_url, self.credentials, kind)

    async def pods(self) -> list[dict[str, Any]]:
        """Return the status of every pod."""
        return await self.get("pods")

    async def pod_of(self, component: str, digest: str) -> dict[str, Any]:
        """Return the status of the pod with this component and short hash."""
        return next(
            pod
            for pod in await self.pods()
            if pod["component"] == component and pod["hash"].startswith(digest)
        )

    async def wait_ready(self, component: str, count: int) -> None:
        """Wait until a component has ``count`` ready pods.

        Raises:
            TimeoutError: The number differs until the end of the time limit.
        """

        async def is_reached() -> bool:
            pods = [pod for pod in await self.pods() if pod["component"] == component]
            ready = [pod for pod in pods if pod["phase"] == "ready"]
            return len(pods) == len(ready) == count

        await wait_for(is_reached, PODS_S)

    async def versions(self) -> dict[str, dict[str, str]]:
        """Return the short hash of each component of each deployment."""
        return {
            deployment["name"]: {
                name: short(digest) for name, digest in deployment["components"].items()
            }
            for deployment in await self.get("deployments")
        }

    async def wait_pods(self, count: int) -> None:
        """Wait until there are ``count`` pods.

        Raises:
            TimeoutError: The number differs until the end of the time limit.
        """

        async def is_reached() -> bool:
            return len(await self.pods()) == count

        await wait_for(is_reached, PODS_S)

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
        # The file may be of an earlier platform that was killed.
        if info is None or info.pid != self.process.pid:
            return False
        if await _answers_ready(info.control_url):
            self.credentials = await asyncio.to_thread(credentials, self.data_dir)
            self.http_url, self.control_url = info.http_url, info.control_url
        return bool(self.http_url)


def credentials(data_dir: Path) -> dict[str, str]:
    """Return the header with the owner's token of a data folder."""
    return {"authorization": f"Bearer {read_private(data_dir / TOKEN_FILE)}"}


async def list_objects(
    control_url: str, credentials: Mapping[str, str], kind: str
) -> list[dict[str, Any]]:
    """Return the objects of a kind without their revisions, as the control API lists them.

    A test asks again and again until a condition holds: a ``fox`` process for each question would
    take the time of the platform that it waits for.

    Args:
        control_url: URL of the control API.
        credentials: Header with a token.
        kind: Segment of the URL, such as ``pods``.

    Raises:
        ClientError: The API refuses, or does not answer.
    """
    found: list[dict[str, Any]] = []
    query = {"continue": ""}
    async with aiohttp.ClientSession(control_url, headers=credentials) as client:
        while True:
            async with client.get(f"/v1/{kind}", params=query, raise_for_status=True) as response:
                page = await response.json()
            found += (listed.get("object", listed) for listed in page["items"])
            query = {"continue": page["continue"]}
            if not query["continue"]:
                return found


async def _answers_ready(control_url: str) -> bool:
    try:
        async with aiohttp.request("GET", f"{control_url}/readyz") as response:
            return response.status == HTTPStatus.OK
    except aiohttp.ClientError:
        return False


async def wait_for(condition: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
    """Wait until ``condition`` holds.

    Raises:
        TimeoutError: It does not hold within ``timeout_s``.
    """
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(POLL_S)
