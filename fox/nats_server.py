"""The embedded NATS: a real nats-server as a child process, on loopback, with JetStream.

It dies with its parent: on Linux the kernel ends it when the process that started it is gone, so a
platform that is killed leaves no server behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import sysconfig
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from broker.background import running
from broker.settings import MIB
from fox.orphans import end_with_parent
from model.errors import NatsUnavailable

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
# A whole buffered body (5 MiB) and its head fit into one message.
MAX_PAYLOAD_BYTES = 8 * MIB
# Twice what the bodies of all requests in hand may take together.
MAX_PENDING_BYTES = 512 * MIB
START_S = 20
STOP_S = 10
_LOG_LINES = 50
ROOM_S = 5.0
"""How often to look whether a disk that was full has room again."""
ROOM_BYTES = 16 * MIB
"""What counts as room, or a tenth of a small disk."""
_OWN_PROGRAM = Path(sysconfig.get_path("scripts"), "nats-server")
# That of this Python environment, else the one on the path.
_PROGRAM = str(_OWN_PROGRAM) if _OWN_PROGRAM.is_file() else "nats-server"
_ANY_PORT = -1
_LISTENING = re.compile(rb"Listening for client connections on \S+:(\d+)")
_READY = b"Server is ready"
# What the kernel says of a disk, a quota and a limit of the process.
_FULL = re.compile(rb"no space left on device|disk quota exceeded|file too large")

_CONFIG = """\
listen: "{listen}"
max_payload: {max_payload}
# Whoever is so far behind with reading is cut off, and all that it waits for fails. At the 64 MiB
# that are usual, 20 answers of 5 MiB at once did that to an HTTP adapter.
max_pending: {max_pending}
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

    After its disk was full, nats-server refuses whatever it has refused once, until it is started
    anew. That is done here as soon as there is room: clients reconnect to the same address, as
    after any restart of NATS.

    Args:
        folder: For its configuration and its data.

    Attributes:
        url: Where clients connect, with credentials.
        exited: Done when the process has ended and is not started anew.
    """

    def __init__(self, folder: Path) -> None:
        """Start nothing yet; see ``run_nats_server``."""
        self._folder = folder
        self._password = secrets.token_urlsafe(24)
        self._port = _ANY_PORT
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        self._is_full = asyncio.Event()
        self._has_room = False
        self.url = ""
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def takes_writes(self) -> bool:
        """Whether its disk took all that was written since it was started."""
        return not self._is_full.is_set()

    @property
    def last_lines(self) -> str:
        """The end of its output, for the message when it fails."""
        return "\n".join(self._lines)

    async def start(self) -> None:
        """Start it and return when it takes clients.

        Raises:
            NatsUnavailable: It ended instead, or takes too long; with its last lines.
        """
        # Its disk may be slow: it was full a moment ago.
        config = await asyncio.to_thread(_write_config, self._folder, self._port, self._password)
        self._process = await asyncio.create_subprocess_exec(
            *(_PROGRAM, "--config", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole process group, and must not reach this.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
        self._is_full.clear()
        try:
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise

    async def attend(self) -> None:
        """Read its output, and start it anew when its disk has room again, until it ends."""
        try:
            while await self._ended_for_want_of_room():
                logger.warning("the embedded nats-server starts anew: its disk has room again")
                await self.start()
        except (NatsUnavailable, OSError) as error:
            logger.error("%s", error)  # noqa: TRY400 - the message says it all
        finally:
            if not self.exited.done():
                self.exited.set_result(None)

    async def stop(self) -> None:
        """Stop it in order, by force after 10 s; return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _ended_for_want_of_room(self) -> bool:
        """Return when it has ended: whether we ended it, because its disk had been full."""
        stopping = asyncio.create_task(self._stop_when_there_is_room_again())
        try:
            # Read to the end, since a full pipe would stop the server.
            while line := await self._read_line():
                logger.debug("nats-server: %s", self._lines[-1])
                if _FULL.search(line):
                    self._is_full.set()
            await self._process.wait()
            return self._is_full.is_set() and self._has_room
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _stop_when_there_is_room_again(self) -> None:
        self._has_room = False
        await self._is_full.wait()
        logger.error(
            "the embedded nats-server takes no more data until there is room: %s", self._lines[-1]
        )
        while not self._has_room:
            await asyncio.sleep(ROOM_S)
            self._has_room = await asyncio.to_thread(_has_room, self._folder)
        await self.stop()

    async def _wait_ready(self) -> None:
        try:
            async with asyncio.timeout(START_S):
                is_ready = await self._read_until_ready()
        except TimeoutError as error:
            raise NatsUnavailable(
                f"the embedded nats-server was not ready in {START_S} s:\n{self.last_lines}"
            ) from error
        if not is_ready:
            await self._process.wait()
            raise NatsUnavailable(f"the embedded nats-server did not start:\n{self.last_lines}")

    async def _read_until_ready(self) -> bool:
        while line := await self._read_line():
            if found := _LISTENING.search(line):
                self._port = int(found[1])
                self.url = f"nats://fox:{self._password}@{HOST}:{self._port}"
            if _READY in line:
                return True
        return False

    async def _read_line(self) -> bytes:
        output = self._process.stderr
        assert output is not None  # noqa: S101 - it is a pipe
        line = await output.readline()
        if line:
            self._lines.append(line.decode(errors="replace").rstrip())
        return line


@contextlib.asynccontextmanager
async def run_nats_server(folder: Path) -> AsyncIterator[NatsServer]:
    """Run a nats-server on a free port until the context ends.

    Args:
        folder: For its configuration and its data; one server a folder.

    Raises:
        NatsUnavailable: It did not start; the message holds its last lines.
    """
    server = NatsServer(folder)
    await server.start()
    try:
        async with running(server.attend(), "attending the nats-server"):
            yield server
    finally:
        await server.stop()


def _has_room(folder: Path) -> bool:
    """Return whether the disk takes a file: what it counts as free may be beyond a quota."""
    size = min(ROOM_BYTES, shutil.disk_usage(folder).total // 10)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        return False
    return True


def _write_config(folder: Path, port: int, password: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "nats-server.conf"
    path.touch(mode=0o600)
    path.write_text(
        _CONFIG.format(
            listen=f"{HOST}:{port}",
            max_payload=MAX_PAYLOAD_BYTES,
            max_pending=MAX_PENDING_BYTES,
            password=password,
            store=folder.resolve(),
        )
    )
    return path
