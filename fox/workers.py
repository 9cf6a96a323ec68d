"""``fox serve http --workers N``: processes that share one port, and a parent that holds it.

The kernel spreads connections over those who listen (SO_REUSEPORT). The parent is bound to the port
but does not listen: nobody else gets it, and no connection comes to the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import msgspec
import uvloop

from broker import logs
from broker import settings as process_settings
from broker.settings import Settings
from fox.orphans import end_with_parent
from fox.platform import EXIT_FAILED, EXIT_OK, READY, Role, run_serve

logger = logging.getLogger(__name__)


def run_workers(settings: Settings) -> int:
    """Run ``settings.http_workers`` adapters until told to stop, or until one of them dies.

    Returns:
        0 when all have ended in order, else 1.
    """
    if not settings.nats_url:
        return run_serve(Role.HTTP, settings)  # which tells what is missing
    logs.configure(settings.log_format, settings.log_level)
    try:
        with _held_port(settings.http_host, settings.http_port) as port:
            return uvloop.run(_Workers(msgspec.structs.replace(settings, http_port=port)).run())
    except OSError as error:
        reason = error.strerror or error
        sys.stderr.write(f"error: cannot listen: {reason}; another port is set by --http-port\n")
        return EXIT_FAILED


class _Workers:
    """The processes.

    Args:
        settings: What each of them gets, by its environment.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes: list[asyncio.subprocess.Process] = []
        self._starting = settings.http_workers
        self._is_stopping = False

    async def run(self) -> int:
        """Return the exit code when the last one has ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        for _ in range(self._settings.http_workers):
            self._processes.append(await self._start())
        if self._is_stopping:
            self._stop()  # those that were started since
        codes = await asyncio.gather(*map(self._attend, self._processes))
        return EXIT_FAILED if any(codes) else EXIT_OK

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fox.workers"),
            env={**os.environ, **_environ(self._settings)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C reaches every process of a terminal's group: they would hear it twice.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),
        )

    async def _attend(self, process: asyncio.subprocess.Process) -> int:
        """Read a worker's output to the end and return its exit code; one that dies ends all."""
        output = process.stdout
        while output is not None and (line := await output.readline()):
            if line.decode().strip() == READY:
                self._tell_ready()
        code = await process.wait()
        if not self._is_stopping:
            logger.error("worker %d ended with %d, so all end", process.pid, code)
            self._stop()
            return EXIT_FAILED
        return code

    def _tell_ready(self) -> None:
        self._starting -= 1
        if not self._starting:
            url = f"http://{self._settings.http_host}:{self._settings.http_port}"
            sys.stdout.write(f"{READY}\n  requests  {url}\n")
            sys.stdout.flush()

    def _stop(self) -> None:
        """Pass it on: the first time they drain, the second time they end at once."""
        self._is_stopping = True
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


@contextlib.contextmanager
def _held_port(host: str, port: int) -> Iterator[int]:
    """Hold a port that nobody has, and return it.

    Raises:
        OSError: Somebody has it, or it may not be used.
    """
    with _bound(host, port, socket.SO_REUSEADDR) as alone:
        # Shared from the start, it could be another platform's and take half of its requests.
        port = alone.getsockname()[1]
    with _bound(host, port, socket.SO_REUSEPORT):
        yield port


@contextlib.contextmanager
def _bound(host: str, port: int, option: int) -> Iterator[socket.socket]:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as bound:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
        yield bound


def _environ(settings: Settings) -> dict[str, str]:
    fields = msgspec.structs.asdict(settings).items()
    return {process_settings.PREFIX + name.upper(): str(value) for name, value in fields}


if __name__ == "__main__":
    sys.exit(run_serve(Role.HTTP, process_settings.load(os.environ)))
