"""A real nats-server with JetStream, on a free port.

It starts in 10 ms and stops in 2 (two cores, nats-server 2.15.1), so a test that needs an empty
JetStream, or kills its server, takes one of its own.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self

import pytest

from broker.nats.access import Access
from broker.nats.credentials.claims import ALL, Permissions
from broker.nats.credentials.login import Login
from fox.nats_keys import ACCOUNT_KEY_FILE, NatsKeys, open_nats_keys
from tests.support.ports import free_ports

START_S = 120
STOP_S = 40
ANSWER_S = 60.0
"""Time in which JetStream answers on a slow machine, whose disk others use as well."""

_ANY_PORT = -1
_PROGRAM = Path(sysconfig.get_path("scripts"), "nats-server")
_LISTENING = re.compile(r"Listening for client connections on (\S+):(\d+)")
_READY = "Server is ready"


class NatsServer:
    """A nats-server that can be stopped, killed and started again.

    A later start takes the same port and the same data, as after a crash. Its methods block: in
    a coroutine, use ``await asyncio.to_thread(server.restart)``.

    Args:
        folder: Where its configuration and its data lie; one server a folder.
        config: Further lines of its configuration.
        keys: Keys of its operator and account; without them it lets anybody in.
        host: Address that it listens on.
        launcher: Command that runs it, such as one that enters a network namespace.
        file: Its whole configuration; None writes one.
    """

    def __init__(
        self,
        folder: Path,
        config: str = "",
        keys: NatsKeys | None = None,
        *,
        host: str = "127.0.0.1",
        launcher: Sequence[str] = (),
        file: Path | None = None,
    ) -> None:
        self.folder = folder
        self.keys = keys
        self.host = host
        self.port = _ANY_PORT
        self.log: list[str] = []
        self._config = config
        self._launcher = launcher
        self._file = file
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"nats://{self.address}"

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """Name of its folder; in a cluster, its name there."""
        return self.folder.name

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which a process of the platform gets in."""
        credentials = self.folder / ACCOUNT_KEY_FILE
        if not credentials.exists():
            return {"FOX_NATS_URL": self.url, "FOX_INSECURE_NATS": "true"}
        return {"FOX_NATS_URL": self.url, "FOX_NATS_CREDENTIALS": str(credentials)}

    def login(self, process_id: str, permissions: Permissions = ALL) -> Login:
        """Return the login of a client, which may do everything unless it is limited."""
        key = None if self.keys is None else self.keys.account_key
        return Access(self.url, key).login(process_id, permissions)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped since."""
        return self._process is not None

    def start(self) -> None:
        """Start it, and return when it accepts clients."""
        assert self._process is None, "already running"
        ready: Future[bool] = Future()
        self._process = subprocess.Popen(
            [*self._launcher, _PROGRAM, "--config", self._file or self._write_config()],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_log, args=[self._process, ready])
        self._reader.start()
        with contextlib.suppress(TimeoutError):
            if ready.result(START_S):
                return
        self.kill()
        raise RuntimeError("nats-server did not start:\n" + "".join(self.log))

    def stop(self) -> None:
        """Stop it in order, if it runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it, if it runs."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._reader is None:
            return
        self._process.send_signal(how)
        self._process.wait(STOP_S)
        self._reader.join()
        self._process = self._reader = None

    def _write_config(self) -> Path:
        if self.port == _ANY_PORT:
            # The kernel would give one of its own to others while the server is stopped.
            (self.port,) = free_ports(1)
        path = self.folder / "nats.conf"
        path.write_text(
            f'listen: "{self.address}"\n'
            "max_payload: 8MB\n"
            "max_control_line: 131072\n"
            f'jetstream {{ store_dir: "{self.folder}" }}\n'
            f"{self._config}\n"
            f"{self.keys.config if self.keys else ''}"
        )
        return path

    def _read_log(self, process: subprocess.Popen[str], ready: Future[bool]) -> None:
        # To the end, not only to the ready line: a full pipe would stop the server.
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.log.append(line)
                if found := _LISTENING.search(line):
                    self.host, self.port = found[1], int(found[2])
                if _READY in line:
                    ready.set_result(True)
        if not ready.done():
            ready.set_result(False)


def secured_nats_server(folder: Path) -> NatsServer:
    """Return a server in operator mode, which is not started yet."""
    return NatsServer(folder, keys=open_nats_keys(folder))


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for all tests that use subjects of their own."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server with an empty JetStream, which the test may stop, kill and restart."""
    with NatsServer(tmp_path) as server:
        yield server


@pytest.fixture
def own_secured_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """The same, in operator mode: every client needs credentials."""
    with secured_nats_server(tmp_path) as server:
        yield server
