"""Who gets into NATS: a platform starts on no server that lets anybody in."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from broker.nats import bus as buses
from broker.nats.anonymous import lets_anybody_in
from broker.nats.credentials.claims import Permissions
from kubefox.errors import NatsUnavailable
from tests.fox.cli.conftest import run
from tests.support.http_serving import serve_http
from tests.support.keys import make_keys
from tests.support.nats import NatsServer, secured_nats_server
from tests.support.platform_nats import connect

PASSWORD = 'authorization { user: "fox", password: "s3cret" }'
SECRET = re.compile(r"\bS[AUO][A-Z2-7]{56}|eyJ")
ONE_SUBJECT = Permissions(publish=("reply.*.*", "allowed"), subscribe=("reply.>", "pods.*.*.*.*"))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[NatsServer]:
    with secured_nats_server(tmp_path) as server:
        yield server


async def test_a_server_without_credentials_lets_anybody_in(
    nats_server: NatsServer, secured: NatsServer
) -> None:
    assert await lets_anybody_in(nats_server.url)
    assert await lets_anybody_in(nats_server.url.replace("nats://", "nats://fox:s3cret@"))
    assert not await lets_anybody_in(secured.url)
    assert not await lets_anybody_in("nats://127.0.0.1:1")


@pytest.mark.parametrize("role", ["http", "adapters", "control", "pods"])
def test_no_part_starts_on_a_server_that_lets_anybody_in(
    nats_server: NatsServer, tmp_path: Path, role: str
) -> None:
    done = run("serve", role, "--data-dir", tmp_path / "data", FOX_NATS_URL=nats_server.url)

    assert done.returncode == 1
    assert "error: the NATS server lets in clients without credentials" in done.stderr
    assert "--insecure-nats" in done.stderr


def test_workers_do_not_start_on_a_server_that_lets_anybody_in(nats_server: NatsServer) -> None:
    done = run("serve", "http", "--workers", "2", FOX_NATS_URL=nats_server.url, FOX_HTTP_PORT="0")

    assert done.returncode == 1
    assert "error: the NATS server lets in clients without credentials" in done.stderr


@pytest.mark.parametrize("command", [("serve", "pods"), ("up",)])
def test_pods_do_not_share_the_credentials_of_the_platform(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with NatsServer(tmp_path, PASSWORD) as server:
        url = server.url.replace("nats://", "nats://fox:s3cret@")
        ports = {"FOX_HTTP_PORT": "0", "FOX_CONTROL_PORT": "0", "FOX_INSECURE_NATS": "false"}
        done = run(*command, "--data-dir", tmp_path / "data", FOX_NATS_URL=url, **ports)

    assert done.returncode == 1
    assert "pods get credentials of their own" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_missing_credentials_file_is_named(secured: NatsServer, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    done = run("serve", "http", "--nats-credentials", missing, FOX_NATS_URL=secured.url)

    assert done.returncode == 1
    assert f"the credentials file of NATS {missing} cannot be read" in done.stderr


async def test_a_url_with_tls_is_not_used_without_it(nats_server: NatsServer) -> None:
    url = nats_server.url.replace("nats://", "tls://")

    with pytest.raises(NatsUnavailable, match="the server offers no TLS"):
        async with buses.connect(url, process_id="p", first_connect_s=1):
            pass


async def test_what_nats_refuses_fails_at_once_and_is_counted_and_logged(
    secured: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    login = secured.login("p", ONE_SUBJECT)
    with caplog.at_level(logging.WARNING):
        async with connect(login) as bus:
            with pytest.raises(NatsUnavailable, match="not let this process publish"):
                await bus.request("evt.Other", b"", timeout_s=600)
            await bus.serve("evt.Other", ignore)
            await bus.flush()

            assert bus.forbidden.count == 2

    assert "forbidden messages were ignored, the last one on evt.other" in caplog.text


async def ignore(_payload: bytes, _reply: str) -> None:
    """Receive nothing."""


def own_variables(process: psutil.Process) -> dict[str, str]:
    """Return the variables that the process does not have from whoever runs the tests."""
    return {
        name: value for name, value in process.environ().items() if os.environ.get(name) != value
    }


async def test_no_credentials_are_on_the_command_line_or_in_the_environment_of_a_worker(
    secured: NatsServer, tmp_path: Path
) -> None:
    await asyncio.to_thread(make_keys, secured)

    async with serve_http(secured, tmp_path / "log", "--workers", "2") as serving:
        workers = serving.workers
        shown = [str((worker.cmdline(), own_variables(worker))) for worker in workers]

    assert len(workers) == 2
    assert not [text for text in shown if SECRET.search(text)]
    assert not [text for text in shown if str(secured.folder) in text]
