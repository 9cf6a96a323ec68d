"""One worker of ``fox serve http``: its process as the parent sees it, and its main program."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

from adapters.http.shared_port import SharedSockets, adopt
from broker.nats.credentials.login import Login, decode_login, encode_login
from broker.runtime import process_tree
from broker.runtime import settings as process_settings
from broker.runtime.secret_pipe import pipe_with
from broker.runtime.settings import Settings
from fox.platform import EXIT_OK, READY, Role, run_serve
from pods.child_process import ChildProcess, start_child
from pods.line_splitter import LineSplitter


class HttpWorker:
    """The process of a worker; made by ``start_worker``.

    Args:
        on_ready: Called once, when it accepts requests.
        failure: Why there is no process, if it could not be started.
    """

    def __init__(self, on_ready: Callable[[], None], failure: str = "") -> None:
        self._on_ready = on_ready
        self._failure = failure
        self._child: ChildProcess | None = None
        self._is_draining = False
        self._lines = LineSplitter()
        self._ready_at_s: float | None = None
        self._ended_at_s: float | None = None
        self._ready_or_ended = asyncio.Event()
        self._output_ended = asyncio.Event()
        self._exited = asyncio.Event()

    @property
    def pid(self) -> int:
        """Process id; 0 if it could not be started."""
        return self._child.pid if self._child is not None else 0

    @property
    def title(self) -> str:
        """Its process, for log lines; empty if there is none."""
        return f" (process {self.pid})" if self._child is not None else ""

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
        return self._child is None or self._child.return_code in ends

    @property
    def ready_for_s(self) -> float:
        """How long it had been ready when it ended; 0 if it never was."""
        if self._ready_at_s is None or self._ended_at_s is None:
            return 0
        return self._ended_at_s - self._ready_at_s

    @property
    def end_text(self) -> str:
        """How it ended, for log lines."""
        if self._child is None:
            return f"could not be started ({self._failure})"
        code = self._child.return_code
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    @property
    def failed_start_text(self) -> str:
        """How it ended before it was ready, for log lines."""
        return self.end_text if self._child is None else f"{self.end_text} before it was ready"

    async def follow(self) -> int | None:
        """Wait for its end, and return its exit code; None if it could not be started."""
        code = None
        if self._child is not None:
            await self._output_ended.wait()
            await self._exited.wait()
            self._child.close()
            code = self._child.return_code
        self._ended_at_s = asyncio.get_running_loop().time()
        self._ready_or_ended.set()
        return code

    async def wait_ready(self) -> bool:
        """Return True once it accepts requests, False if it has ended before."""
        await self._ready_or_ended.wait()
        return self.was_ready

    def drain(self) -> None:
        """Let it answer its requests and end; a second call has no effect."""
        if not self._is_draining:
            self.terminate()

    def terminate(self) -> None:
        """Send SIGTERM: at the first one it drains, at the second it ends."""
        self._is_draining = True
        if self._child is not None:
            self._child.terminate()

    def on_start(self, child: ChildProcess) -> None:
        """Store the process."""
        self._child = child

    def on_output(self, data: bytes) -> None:
        """Note the line that says that it is ready."""
        if READY in map(str.strip, self._lines.feed(data)) and not self.was_ready:
            self._ready_at_s = asyncio.get_running_loop().time()
            self._ready_or_ended.set()
            self._on_ready()

    def on_output_end(self) -> None:
        """Note that it has closed its output."""
        self._output_ended.set()

    def on_exit(self) -> None:
        """Note that it has ended."""
        self._exited.set()


async def start_worker(
    settings: Settings, login: Login, sockets: SharedSockets, on_ready: Callable[[], None]
) -> HttpWorker:
    """Start the process of a worker, or return one that says why it could not be started.

    Args:
        settings: Passed to it by its environment.
        login: Its login to NATS, passed to it by a pipe.
        sockets: It inherits them.
        on_ready: Called once, when it accepts requests.
    """
    worker = HttpWorker(on_ready)
    try:
        await _start(worker, settings, login, sockets)
    except OSError as error:
        return HttpWorker(on_ready, error.strerror or str(error))
    return worker


async def _start(
    worker: HttpWorker, settings: Settings, login: Login, sockets: SharedSockets
) -> None:
    own, others = ([shared.fileno() for shared in part] for part in sockets)
    login_fd = pipe_with(encode_login(login))
    try:
        await start_child(
            # Without -P, Python would import modules from the current folder first.
            (
                *(sys.executable, "-P", "-m", "fox.http_worker"),
                _join(own),
                _join(others),
                str(login_fd),
                str(os.getpid()),
            ),
            _environ(settings),
            None,
            (*own, *others, login_fd),
            worker,
            has_lifeline=False,
            merges_errors=False,
        )
    finally:
        os.close(login_fd)


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


def main(own: str, others: str, login_fd: str, parent: str) -> int:
    """Run a worker until a signal stops it; return its exit code.

    Args:
        own: Descriptors of its own sockets, separated by commas.
        others: Descriptors of the other workers' sockets.
        login_fd: Descriptor of the pipe with the worker's login to NATS.
        parent: Id of the process with which this one ends.
    """
    process_tree.end_with(int(parent), signal.SIGTERM)
    with os.fdopen(int(login_fd), "rb") as pipe:
        login = decode_login(pipe.read())
    sockets = SharedSockets(_inherited(own), _inherited(others))
    return run_serve(Role.HTTP, process_settings.load(os.environ), sockets, login=login)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
