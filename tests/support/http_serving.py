"""``fox serve http`` as a process, in front of a component of the test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from tests.support.keys import KEY_FILE, make_keys
from tests.support.nats import NatsServer

FOX = (sys.executable, "-m", "fox.cli")
READY_S = 120
STOP_S = 60


class HttpServing:
    """A running ``fox serve http``; made by ``serve_http``.

    Attributes:
        process: Of the command.
        port: That it listens on.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def log(self) -> str:
        """Its standard error, with that of its workers."""
        return self._log.read_text()

    @property
    def workers(self) -> list[psutil.Process]:
        """The running workers."""
        return psutil.Process(self.process.pid).children()

    async def wait_ended(self) -> int:
        """Return its exit code once it has ended."""
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    async def wait_logged(self, text: str) -> None:
        """Wait until a text stands in the log."""
        async with asyncio.timeout(READY_S):
            while text not in self.log:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serve_http(
    nats: NatsServer, log: Path, *options: str, **environ: str
) -> AsyncIterator[HttpServing]:
    """Run ``fox serve http`` until the context ends; it is ready at the beginning.

    Args:
        nats: The nats-server.
        log: File for standard error.
        options: Of the command.
        environ: Further variables.
    """
    await asyncio.to_thread(make_keys, nats)
    environ = {**nats.environ, "FOX_KEY_FILE": str(KEY_FILE), **environ}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(*FOX, "serve", "http", *options),
            env={**os.environ, "FOX_HTTP_PORT": "0", **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield HttpServing(process, await _read_port(process, log), log)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_S):
                await process.wait()


async def _read_port(process: asyncio.subprocess.Process, log: Path) -> int:
    assert process.stdout is not None
    async with asyncio.timeout(READY_S):
        said = (await process.stdout.readline() + await process.stdout.readline()).decode()
    found = re.search(r"KubeFox is ready\n  requests  https?://127.0.0.1:(\d+)\n", said)
    assert found, f"{said}{log.read_text()}"
    return int(found[1])
