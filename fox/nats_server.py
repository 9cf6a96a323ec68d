"""The embedded NATS: a real nats-server as a child process, on loopback, with JetStream.

On Linux the kernel ends the server when the process that started it ends, so a platform that is
killed leaves no server behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import sysconfig
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from broker.nats.access import Access
from broker.runtime.background import run_in_background
from broker.runtime.process_tree import end_with_parent
from broker.runtime.settings import MIB
from fox.nats_keys import ACCOUNT_KEY_FILE, NatsKeys, open_nats_keys
from kubefox.errors import NatsUnavailable
from pods import private_files
from pods.backoff import BackOff

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
# A whole buffered body (5 MiB) and its head fit into one message.
MAX_PAYLOAD_BYTES = 8 * MIB
MAX_CONTROL_LINE_BYTES = 128 << 10
# Twice the memory that the bodies of all requests in flight may take together.
MAX_PENDING_BYTES = 512 * MIB
START_S = 20
STOP_S = 10
_KEPT_LINES = 50
MAX_ENDS = 5
"""Ends in a row, each soon after the start, after which the server is not started again."""
DISK_CHECK_S = 5.0
"""Interval at which a full disk is checked for free space."""
FREE_BYTES = 16 * MIB
"""Free space that is enough to restart the server; a tenth of the disk if that is less."""
_OWN_PROGRAM = Path(sysconfig.get_path("scripts"), "nats-server")
# The program of this Python environment, else the first one on the PATH.
_PROGRAM = str(_OWN_PROGRAM) if _OWN_PROGRAM.is_file() else "nats-server"
_ANY_PORT = -1
_LISTENING = re.compile(rb"Listening for client connections on \S+:(\d+)")
_READY = b"Server is ready"
# The kernel's messages for a full disk, a disk quota and a file size limit.
_DISK_FULL = re.compile(rb"no space left on device|disk quota exceeded|file too large")

_CONFIG = """\
# Written by KubeFox.
listen: "{listen}"
max_payload: {max_payload}
# Credentials list all that a process may do: a pod with 100 dependencies needs 32 KiB.
max_control_line: {max_control_line}
# nats-server disconnects a client that reads too slowly, and all of the client's requests fail.
# With the default of 64 MiB, 20 concurrent responses of 5 MiB did that to an HTTP adapter.
max_pending: {max_pending}
# A client that does not answer is cut off after 90 s. All clients are on this machine: those that
# end are noticed at once, and pods that hang by their driver. A ping wakes a client and the server;
# each client sends one every 20 s, so the server needs none of its own.
ping_interval: "30s"
ping_max: 2
{keys}# An acknowledged write is on the disk: 0.35 ms instead of 0.13.
jetstream {{ store_dir: "{store}", sync_interval: always }}
"""


def has_free_space(folder: Path) -> bool:
    """Return whether ``FREE_BYTES`` can be written; a disk quota counts too."""
    size = min(FREE_BYTES, shutil.disk_usage(folder).total // 10)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError:
        return False
    return True


class NatsServer:
    """A running nats-server; made by ``run_nats_server``.

    A server that was killed is started again: clients reconnect to the same address. After its
    disk was full, nats-server keeps refusing writes until it is restarted. This class restarts it
    as soon as the disk has free space.

    Args:
        folder: For the server's configuration and data.
        keys: Keys of the server and its account.
        has_free_space: Returns whether the server's disk has free space again.
        disk_check_s: Interval between two calls of ``has_free_space``.

    Attributes:
        url: URL for clients.
        keys: Keys of the server and its account.
        exited: Done when the process has ended and is not restarted.
    """

    def __init__(
        self,
        folder: Path,
        keys: NatsKeys,
        *,
        has_free_space: Callable[[Path], bool] = has_free_space,
        disk_check_s: float = DISK_CHECK_S,
    ) -> None:
        self._folder = folder
        self.keys = keys
        self._has_free_space = has_free_space
        self._disk_check_s = disk_check_s
        self._port = _ANY_PORT
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._is_disk_full = asyncio.Event()
        self._may_restart = False
        self.url = ""
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def access(self) -> Access:
        """Makes the logins of the platform's processes."""
        return Access(self.url, self.keys.account_key)

    @property
    def account_key_file(self) -> Path:
        """The file with the key that signs credentials, for other processes of the platform."""
        return self._folder / ACCOUNT_KEY_FILE

    @property
    def is_writable(self) -> bool:
        """Whether no write has failed for lack of disk space since the last start."""
        return not self._is_disk_full.is_set()

    @property
    def last_lines(self) -> str:
        """The last lines of the server's output, for an error message."""
        return "\n".join(self._lines)

    async def start(self) -> None:
        """Start the server and return when it accepts clients.

        Raises:
            NatsUnavailable: The server ended or was not ready in time; with its last lines.
        """
        # In a thread, because a disk that was full a moment ago may be slow.
        config = await asyncio.to_thread(_write_config, self._folder, self._port, self.keys.config)
        self._lines.clear()
        self._process = await asyncio.create_subprocess_exec(
            *(_PROGRAM, "--config", str(config)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole process group, and must not reach the server.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL),
        )
        self._is_disk_full.clear()
        try:
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise

    async def supervise(self) -> None:
        """Read the server's output until it ends, and start it again; done when that has failed.

        A server that ends while its disk is full is not started again.
        """
        ends = BackOff()
        loop = asyncio.get_running_loop()
        try:
            while True:
                started_s = loop.time()
                is_stopped_here = await self._wait_ended()
                if is_stopped_here:
                    logger.warning("the disk of the embedded nats-server has free space again")
                else:
                    ends = ends.after_death(loop.time() - started_s)
                    if not self.is_writable or ends.deaths > MAX_ENDS:
                        return
                    await self._pause(ends.delay_s)
                await self.start()
        except (NatsUnavailable, OSError) as error:
            logger.error("%s", error)  # noqa: TRY400 - the message holds the cause
        finally:
            if not self.exited.done():
                self.exited.set_result(None)

    async def stop(self) -> None:
        """Stop the server, by force after 10 s, and return when its process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def revoke(self, users: Iterable[str]) -> None:
        """Revoke the credentials of some users; the server ends their connections.

        Args:
            users: Public keys.
        """
        self.keys.revoke(users)
        await asyncio.to_thread(_write_config, self._folder, self._port, self.keys.config)
        # A server that has just ended reads the file when it is started again.
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGHUP)

    async def _pause(self, delay_s: float) -> None:
        logger.error(
            "the embedded nats-server ended with code %s, next start in %g s: %s",
            self._process.returncode,
            delay_s,
            self._lines[-1],
        )
        await asyncio.sleep(delay_s)

    async def _wait_ended(self) -> bool:
        """Wait for the end of the process; return whether it was stopped here for a restart."""
        stopping = asyncio.create_task(self._stop_when_disk_has_space())
        try:
            # The output is read to its end, because a full pipe would block the server.
            while line := await self._read_line():
                logger.debug("nats-server: %s", self._lines[-1])
                if _DISK_FULL.search(line):
                    self._is_disk_full.set()
            await self._process.wait()
            return self._is_disk_full.is_set() and self._may_restart
        finally:
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)

    async def _stop_when_disk_has_space(self) -> None:
        self._may_restart = False
        await self._is_disk_full.wait()
        logger.error(
            "the embedded nats-server cannot write: make room on the disk of %s; it restarts when "
            "there is free space: %s",
            self._folder,
            self._lines[-1],
        )
        while not self._may_restart:
            await asyncio.sleep(self._disk_check_s)
            self._may_restart = await asyncio.to_thread(self._has_free_space, self._folder)
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
                self.url = f"nats://{HOST}:{self._port}"
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
async def run_nats_server(
    folder: Path,
    *,
    has_free_space: Callable[[Path], bool] = has_free_space,
    disk_check_s: float = DISK_CHECK_S,
) -> AsyncIterator[NatsServer]:
    """Run a nats-server on a free port until the context ends.

    Args:
        folder: For the server's configuration and data; each server needs a folder of its own.
        has_free_space: Returns whether the server's disk has free space again after it was full.
        disk_check_s: Interval between two such checks.

    Raises:
        NatsUnavailable: The server did not start; the message holds its last lines.
    """
    keys = await asyncio.to_thread(open_nats_keys, folder)
    server = NatsServer(folder, keys, has_free_space=has_free_space, disk_check_s=disk_check_s)
    await server.start()
    try:
        async with run_in_background(server.supervise(), "supervision of the embedded nats-server"):
            yield server
    finally:
        await server.stop()


def _write_config(folder: Path, port: int, keys: str) -> Path:
    path = folder / "nats-server.conf"
    config = _CONFIG.format(
        listen=f"{HOST}:{port}",
        max_payload=MAX_PAYLOAD_BYTES,
        max_control_line=MAX_CONTROL_LINE_BYTES,
        max_pending=MAX_PENDING_BYTES,
        keys=keys,
        store=folder.resolve(),
    )
    private_files.replace(path, config.encode())
    return path
