"""The embedded NATS: a real nats-server as a child process, on loopback, with JetStream.

It dies with its parent: on Linux the kernel ends it when the process that started it is gone, so a
platform that is killed leaves no server behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import signal
import sysconfig
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from broker.settings import MIB
from fox.orphans import end_with_parent
from model.errors import NatsUnavailable

logger = logging.getLogger(__name__)

# A whole buffered body (5 MiB) and its head fit into one message.
MAX_PAYLOAD_BYTES = 8 * MIB
START_S = 20
STOP_S = 10
_LOG_LINES = 50
_LISTENING = re.compile(rb"Listening for client connections on (\S+)")
_READY = b"Server is ready"

_CONFIG = """\
listen: "127.0.0.1:-1"
max_payload: {max_payload}
# A client that was stopped is noticed in 15 s instead of 4 minutes. Sooner, a pod whose handler
# holds its loop for the 10 s that FOX_POD_LIVENESS_S lets it would lose its connection.
ping_interval: "5s"
ping_max: 2
authorization {{ user: "fox", password: "{password}" }}
# An acknowledged write is on the disk: 0.35 ms instead of 0.13.
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


class NatsServer:
    """A running nats-server; made by ``run_nats_server``.

    Attributes:
        url: Where clients connect, with credentials.
        exited: Done when the process has ended.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Wrap a process that was just started."""
        self._process = process
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self.url = ""
        self.exited = asyncio.create_task(process.wait())

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def last_lines(self) -> str:
        """The end of its output, for the message when it fails."""
        return "\n".join(self._lines)

    async def wait_ready(self, password: str) -> None:
        """Read its output until it takes clients.

        Raises:
            NatsUnavailable: It ended instead, or takes too long; with its last lines.
        """
        try:
            async with asyncio.timeout(START_S):
                is_ready = await self._read_until_ready(password)
        except TimeoutError as error:
            raise NatsUnavailable(
                f"the embedded nats-server was not ready in {START_S} s:\n{self.last_lines}"
            ) from error
        if is_ready:
            return
        await self.exited
        raise NatsUnavailable(f"the embedded nats-server did not start:\n{self.last_lines}")

    async def read_on(self) -> None:
        """Read its output to the end: a full pipe would stop the server."""
        output = self._process.stderr
        while output is not None and (line := await output.readline()):
            self._lines.append(line.decode(errors="replace").rstrip())
            logger.debug("nats-server: %s", self._lines[-1])

    async def _read_until_ready(self, password: str) -> bool:
        output = self._process.stderr
        while output is not None and (line := await output.readline()):
            self._lines.append(line.decode(errors="replace").rstrip())
            if found := _LISTENING.search(line):
                self.url = f"nats://fox:{password}@{found[1].decode()}"
            if _READY in line:
                return True
        return False

    async def stop(self) -> None:
        """Stop it in order, by force after 10 s; return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.shield(self.exited)
        except TimeoutError:
            self._process.kill()
            await self.exited


@contextlib.asynccontextmanager
async def run_nats_server(folder: Path) -> AsyncIterator[NatsServer]:
    """Run a nats-server on a free port until the context ends.

    Args:
        folder: For its configuration and its data; one server a folder.

    Raises:
        NatsUnavailable: It did not start; the message holds its last lines.
    """
    password = secrets.token_urlsafe(24)
    process = await asyncio.create_subprocess_exec(
        _program(),
        "--config",
        str(_write_config(folder, password)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C in a terminal reaches the whole process group, and must not reach this.
        start_new_session=True,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    server = NatsServer(process)
    try:
        await server.wait_ready(password)
        reader = asyncio.create_task(server.read_on())
        try:
            yield server
        finally:
            reader.cancel()
    finally:
        await server.stop()


def _program() -> str:
    """Return the nats-server of this Python environment, else the one on the path."""
    own = Path(sysconfig.get_path("scripts"), "nats-server")
    return str(own) if own.is_file() else "nats-server"


def _write_config(folder: Path, password: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "nats-server.conf"
    path.touch(mode=0o600)
    path.write_text(
        _CONFIG.format(max_payload=MAX_PAYLOAD_BYTES, password=password, store=folder.resolve())
    )
    return path
