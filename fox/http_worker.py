"""One worker of ``fox serve http``: its process as the parent sees it, and its main program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from adapters.http.shared_port import SharedSockets, adopt
from broker.nats.credentials.login import Login, decode_login, encode_login
from broker.runtime import settings as process_settings
from broker.runtime.process_tree import end_with_parent
from broker.runtime.secret_pipe import pipe_with
from broker.runtime.settings import Settings
from fox.platform import EXIT_OK, READY, Role, run_serve


class HttpWorker:
    """The process of a worker; made by ``start_worker``.

    Args:
        process: Its standard output is a pipe.
        on_ready: Called once, when it accepts requests.
    """

    def __init__(self, process: asyncio.subprocess.Process, on_ready: Callable[[], None]) -> None:
        self._process = process
        self._on_ready = on_ready
        self._ready_at_s: float | None = None
        self._ended_at_s: float | None = None
        self._ready_or_ended = asyncio.Event()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def was_ready(self) -> bool:
        """Whether it has accepted requests."""
        return self._ready_at_s is not None

    @property
    def is_serving(self) -> bool:
        """Whether it accepts requests."""
        return self.was_ready and self._ended_at_s is None

    @property
    def has_stopped(self) -> bool:
        """Whether it ended because it was told to, and not by a failure."""
        # SIGTERM kills a worker that is still importing: it has no handler for it yet.
        ends = (EXIT_OK,) if self.was_ready else (EXIT_OK, -signal.SIGTERM)
        return self._process.returncode in ends

    @property
    def ready_for_s(self) -> float:
        """How long it had been ready when it ended; 0 if it never was."""
        if self._ready_at_s is None or self._ended_at_s is None:
            return 0
        return self._ended_at_s - self._ready_at_s

    @property
    def end_text(self) -> str:
        """How it ended, for log lines."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def follow(self) -> int:
        """Read its output until it ends, and return its exit code."""
        loop, output = asyncio.get_running_loop(), self._process.stdout
        # The output is read to its end: a full pipe would block the worker.
        while output is not None and (line := await output.readline()):
            if line.decode(errors="replace").strip() == READY:
                self._ready_at_s = loop.time()
                self._ready_or_ended.set()
                self._on_ready()
        code = await self._process.wait()
        self._ended_at_s = loop.time()
        self._ready_or_ended.set()
        return code

    async def wait_ready(self) -> bool:
        """Return True once it accepts requests, False if it has ended before."""
        await self._ready_or_ended.wait()
        return self.was_ready

    def terminate(self) -> None:
        """Send SIGTERM: at the first one it drains, at the second it ends."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()


async def start_worker(
    settings: Settings, login: Login, sockets: SharedSockets, on_ready: Callable[[], None]
) -> HttpWorker:
    """Start the process of a worker.

    Args:
        settings: Passed to it by its environment.
        login: Its login to NATS, passed to it by a pipe.
        sockets: It inherits them.
        on_ready: Called once, when it accepts requests.
    """
    own, others = ([shared.fileno() for shared in part] for part in sockets)
    login_fd = pipe_with(encode_login(login))
    try:
        process = await asyncio.create_subprocess_exec(
            # Without -P, Python would import modules from the current folder first.
            *(sys.executable, "-P", "-m", "fox.http_worker"),
            *(_join(own), _join(others), str(login_fd)),
            env=_environ(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(*own, *others, login_fd),
            # Ctrl-C reaches every process of a terminal's group: the workers would get it twice.
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGTERM),
        )
    finally:
        os.close(login_fd)
    return HttpWorker(process, on_ready)


def _environ(settings: Settings) -> dict[str, str]:
    # The login contains the address, perhaps with a password. Only one process could have the port
    # for probes.
    settings = msgspec.structs.replace(settings, nats_url="", nats_credentials="", health_port=0)
    fields = msgspec.structs.asdict(settings).items()
    own = {process_settings.PREFIX + name.upper(): str(value) for name, value in fields}
    return {**os.environ, **own}


def _join(descriptors: list[int]) -> str:
    return ",".join(map(str, descriptors))


def _inherited(descriptors: str) -> tuple[socket.socket, ...]:
    return tuple(adopt(int(number)) for number in descriptors.split(",") if number)


def main(own: str, others: str, login_fd: str) -> int:
    """Run a worker until a signal stops it; return its exit code.

    Args:
        own: Descriptors of its own sockets, separated by commas.
        others: Descriptors of the other workers' sockets.
        login_fd: Descriptor of the pipe with the worker's login to NATS.
    """
    with os.fdopen(int(login_fd), "rb") as pipe:
        login = decode_login(pipe.read())
    sockets = SharedSockets(_inherited(own), _inherited(others))
    return run_serve(Role.HTTP, process_settings.load(os.environ), sockets, login=login)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
