"""`fox serve http --workers`: several processes that share one port."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TextIO

import psutil
import pytest

from adapters.http.server import READY_PATH
from broker.runtime.settings import load
from fox.workers import must_give_up, run_http
from tests.fox.cli.conftest import FOX, STOP_S, run
from tests.support.keys import KEY_FILE, make_keys
from tests.support.nats import NatsServer

WORKERS = 2
CONNECTIONS = 40


class Serving:
    """A running `fox serve http --workers 2`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.workers = psutil.Process(process.pid).children()


@pytest.fixture
def serving(nats_server: NatsServer) -> Iterator[Serving]:
    """Workers that the test ends."""
    with serve(nats_server) as serving:
        yield serving


@pytest.fixture(scope="module")
def shared(nats_server: NatsServer) -> Iterator[Serving]:
    with serve(nats_server) as serving:
        yield serving


@pytest.fixture
def kept(shared: Serving) -> Serving:
    """Workers that run on after the test; all of them listen."""
    wait_until(lambda: len(listening(shared)) == WORKERS)
    shared.workers = psutil.Process(shared.process.pid).children()
    return shared


@contextlib.contextmanager
def serve(nats_server: NatsServer, log: TextIO | None = None) -> Iterator[Serving]:
    make_keys(nats_server)
    with subprocess.Popen(
        [*FOX, "serve", "http", "--workers", str(WORKERS), "--http-port", "0"],
        env={**os.environ, **nats_server.environ, "FOX_KEY_FILE": str(KEY_FILE)},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.readline() + process.stdout.readline()
        found = re.search(r"KubeFox is ready\n  requests  http://127.0.0.1:(\d+)\n", printed)
        assert found, printed
        yield Serving(process, int(found[1]))
        process.kill()


def accepted(process: psutil.Process) -> int:
    """Return the number of HTTP connections that a worker has accepted."""
    return sum(
        connection.status == psutil.CONN_ESTABLISHED
        for connection in process.net_connections("tcp")
    )


def listening(serving: Serving) -> set[int]:
    """Return the process ids of the workers that accept connections."""
    workers = psutil.Process(serving.process.pid).children()
    return {worker.pid for worker in workers if is_listening(worker)}


def is_listening(worker: psutil.Process) -> bool:
    try:
        connections = worker.net_connections("tcp")
    except psutil.Error:  # it has ended meanwhile
        return False
    return any(connection.status == psutil.CONN_LISTEN for connection in connections)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + STOP_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def wait_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, STOP_S)
    return not alive


def connect(port: int, count: int) -> list[http.client.HTTPConnection]:
    """Return connections that workers have accepted and answered."""
    clients = [http.client.HTTPConnection("127.0.0.1", port) for _ in range(count)]
    for client in clients:
        client.request("GET", READY_PATH)
    assert {client.getresponse().status for client in clients} == {HTTPStatus.OK}
    return clients


def test_workers_share_the_connections_to_one_port(kept: Serving) -> None:
    before = [accepted(worker) for worker in kept.workers]

    clients = connect(kept.port, CONNECTIONS)

    def taken() -> list[int]:
        return [accepted(worker) - old for worker, old in zip(kept.workers, before, strict=True)]

    def is_shared() -> bool:
        # A worker that stalls takes none while another one does.
        if min(taken()) == 0:
            clients.extend(connect(kept.port, 1))
        return min(taken()) > 0

    wait_until(is_shared)
    assert len(taken()) == WORKERS
    assert sum(taken()) == len(clients)
    for client in clients:
        client.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_all_workers(serving: Serving, how: signal.Signals) -> None:
    serving.process.send_signal(how)

    assert serving.process.wait(STOP_S) == 0
    assert wait_gone(serving.workers)


@pytest.mark.parametrize("more", [1, 3])
def test_a_worker_starts_when_there_are_descriptors_again(
    nats_server: NatsServer, tmp_path: Path, more: int
) -> None:
    log_file = tmp_path / "log"
    with log_file.open("w") as log, serve(nats_server, log) as serving:
        parent = psutil.Process(serving.process.pid)
        victim, other = serving.workers
        limits = parent.rlimit(psutil.RLIMIT_NOFILE)
        # The victim frees two more. That is too few for a start, which needs three pipes.
        before = parent.num_fds()
        parent.rlimit(psutil.RLIMIT_NOFILE, (before + more, limits[1]))

        victim.kill()

        wait_until(lambda: "could not be started (Too many open files)" in log_file.read_text())
        served_alone = {worker.pid for worker in parent.children()}
        parent.rlimit(psutil.RLIMIT_NOFILE, limits)
        wait_until(lambda: len(listening(serving) - {victim.pid}) == WORKERS)
        wait_until(lambda: parent.num_fds() == before)
        serving.process.terminate()
        assert serving.process.wait(STOP_S) == 0

    assert served_alone == {other.pid}


def test_a_signal_ends_all_workers_also_while_one_waits_to_be_started(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    log_file = tmp_path / "log"
    with log_file.open("w") as log, serve(nats_server, log) as serving:
        parent = psutil.Process(serving.process.pid)
        parent.rlimit(psutil.RLIMIT_NOFILE, (parent.num_fds(),) * 2)
        serving.workers[0].kill()
        wait_until(lambda: "the next one starts in 1.6 s" in log_file.read_text())

        serving.process.terminate()

        assert serving.process.wait(STOP_S) == 0
        assert wait_gone(serving.workers)


def test_a_worker_that_dies_is_replaced(kept: Serving) -> None:
    victim, other = kept.workers

    victim.kill()

    wait_until(lambda: len(listening(kept) - {victim.pid}) == WORKERS)
    assert other.pid in listening(kept)


def test_the_connections_of_a_dead_worker_are_accepted_by_the_others(kept: Serving) -> None:
    for worker in kept.workers[1:]:
        worker.suspend()  # no new one can take its place, and none of its connections is lost

    clients = connect(kept.port, CONNECTIONS)

    for worker in kept.workers[1:]:
        worker.resume()
    for client in clients:
        client.close()


def test_workers_that_cannot_start_end_the_parent_with_the_reason() -> None:
    done = run(
        *("serve", "http", "--workers", "2", "--http-port", "0"),
        FOX_NATS_URL="nats://127.0.0.1:1",
    )

    assert done.returncode == 1
    assert "error: no NATS at nats://127.0.0.1:1" in done.stderr
    assert "before it was ready, attempt 1: stopping all workers" in done.stderr


def test_workers_do_not_outlive_a_killed_parent(serving: Serving) -> None:
    serving.process.kill()

    assert wait_gone(serving.workers)


def test_a_port_in_use_with_so_reuseport_is_refused(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        settings = load({}, nats_url=nats_server.url, http_port=port, http_workers=WORKERS)

        code = run_http(settings)

    assert code == 1
    assert capsys.readouterr().err == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; set another port with "
        "--http-port, or take it over from a running `fox serve http` with --take-over\n"
    )


def test_workers_need_the_address_of_nats(tmp_path: Path) -> None:
    done = run("serve", "http", "--workers", "2", FOX_NATS_URL="", FOX_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "needs the address of NATS" in done.stderr


def test_only_http_has_workers() -> None:
    done = run("serve", "control", "--workers", "2", FOX_NATS_URL="nats://127.0.0.1:1")

    assert done.returncode == 2
    assert "--workers is for http only" in done.stderr


@pytest.mark.parametrize(
    ("failed_starts", "code", "has_been_ready", "others_serve", "expected"),
    [
        # At the first start, a worker that says why it ends, is not started again.
        (1, 1, False, False, True),
        (1, 1, False, True, True),
        # A killed one is, a few times.
        (1, -9, False, False, False),
        (2, -9, False, True, False),
        (3, -9, False, True, True),
        # Later, it is as long as others serve.
        (9, 1, True, True, False),
        (2, 1, True, False, False),
        (3, 1, True, False, True),
        # It has been ready: its end says nothing about the next one.
        (0, 1, False, False, False),
        (0, -9, True, False, False),
    ],
)
def test_workers_are_given_up_when_none_can_start(
    failed_starts: int, code: int, has_been_ready: bool, others_serve: bool, expected: bool
) -> None:
    found = must_give_up(
        failed_starts, code, has_been_ready=has_been_ready, others_serve=others_serve
    )

    assert found is expected
