"""`fox serve http --workers`: several processes behind one port, as one part of the platform."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from adapters.http.server import READY_PATH
from broker.settings import load
from fox.workers import run_workers
from tests.cli.conftest import FOX, STOP_S, run
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
    with subprocess.Popen(
        [*FOX, "serve", "http", "--workers", str(WORKERS), "--http-port", "0"],
        env={**os.environ, "FOX_NATS_URL": nats_server.url},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline()
        found = re.search(r"KubeFox is ready\n  requests  http://127.0.0.1:(\d+)\n", said)
        assert found, said
        yield Serving(process, int(found[1]))
        process.kill()


def accepted(process: psutil.Process) -> int:
    """Return how many HTTP connections a worker has taken."""
    return sum(each.status == psutil.CONN_ESTABLISHED for each in process.net_connections("tcp"))


def wait_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, STOP_S)
    return not alive


def test_workers_share_the_connections_to_one_port(serving: Serving) -> None:
    before = [accepted(each) for each in serving.workers]
    clients = [http.client.HTTPConnection("127.0.0.1", serving.port) for _ in range(CONNECTIONS)]

    for client in clients:
        client.request("GET", READY_PATH)
    statuses = {client.getresponse().status for client in clients}

    assert statuses == {200}
    taken = [accepted(each) - old for each, old in zip(serving.workers, before, strict=True)]
    assert len(taken) == WORKERS
    assert sum(taken) == CONNECTIONS
    assert min(taken) > 0
    for client in clients:
        client.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_workers_in_order(serving: Serving, how: signal.Signals) -> None:
    serving.process.send_signal(how)

    assert serving.process.wait(STOP_S) == 0
    assert wait_gone(serving.workers)


def test_a_worker_that_dies_ends_the_others_too(serving: Serving) -> None:
    serving.workers[0].kill()

    assert serving.process.wait(STOP_S) == 1
    assert wait_gone(serving.workers)


def test_workers_do_not_outlive_a_parent_that_is_killed(serving: Serving) -> None:
    serving.process.kill()

    assert wait_gone(serving.workers)


def test_a_port_in_use_is_refused_even_if_it_could_be_shared(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        settings = load({}, nats_url=nats_server.url, http_port=port, http_workers=WORKERS)

        code = run_workers(settings)

    assert code == 1
    assert capsys.readouterr().err == (
        "error: cannot listen: Address already in use; another port is set by --http-port\n"
    )


def test_workers_need_the_address_of_nats(tmp_path: Path) -> None:
    done = run("serve", "http", "--workers", "2", FOX_NATS_URL="", FOX_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert "needs the address of NATS" in done.stderr


def test_only_http_has_workers() -> None:
    done = run("serve", "control", "--workers", "2", FOX_NATS_URL="nats://127.0.0.1:1")

    assert done.returncode == 2
    assert "only http has --workers" in done.stderr
