"""`fox serve http --take-over`: who gets a port from whom, and who does not."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from adapters.http.port_handover import claim_port, nats_servers
from adapters.http.server import READY_PATH
from broker.runtime.settings import load
from fox.workers import run_http
from kubefox.errors import InvalidRequest
from tests.fox.cli.conftest import FOX, run
from tests.support.http_serving import READY_S, HttpServing, serve_http
from tests.support.keys import KEY_FILE
from tests.support.nats import NatsServer
from tests.support.ports import free_ports


@pytest.fixture
async def old(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[HttpServing]:
    """A running `fox serve http`, on a port that stays free after its end."""
    (port,) = free_ports(1)
    async with serve_http(nats_server, tmp_path / "old", f"--http-port={port}") as serving:
        yield serving


async def is_ready(port: int) -> bool:
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}{READY_PATH}") as response:
        return response.status == HTTPStatus.OK


async def wait_ready(port: int) -> None:
    async with asyncio.timeout(READY_S):
        while not await is_ready(port):
            await asyncio.sleep(0.01)


async def serve(nats_url: str, port: int, *options: str) -> tuple[int, str]:
    """Run `fox serve http` that is expected to fail; return its exit code and its errors."""
    arguments = ("serve", "http", "--http-port", str(port), "--nats-url", nats_url, *options)
    done = await asyncio.to_thread(run, *arguments)
    return done.returncode, done.stderr


async def test_a_port_passes_on_again_and_again(
    nats_server: NatsServer, old: HttpServing, tmp_path: Path
) -> None:
    options = (f"--http-port={old.port}", "--take-over")
    async with serve_http(nats_server, tmp_path / "second", *options) as second:
        assert await old.wait_ended() == 0
        async with serve_http(nats_server, tmp_path / "third", *options):
            assert await second.wait_ended() == 0
            assert await is_ready(old.port)


async def test_without_a_process_to_take_it_from_a_port_is_bound_as_usual(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    options = (f"--http-port={port}", "--take-over")

    async with serve_http(nats_server, tmp_path / "log", *options):
        assert await is_ready(port)


async def test_a_port_is_not_shared_without_take_over(
    nats_server: NatsServer, old: HttpServing
) -> None:
    code, errors = await serve(nats_server.url, old.port)

    assert code == 1
    assert "Address already in use" in errors
    assert "--take-over" in errors
    assert await is_ready(old.port)


async def test_a_platform_on_another_nats_does_not_get_the_port(
    nats_server: NatsServer, old: HttpServing
) -> None:
    code, errors = await serve("nats://127.0.0.1:1", old.port, "--take-over")

    assert code == 1
    [server] = nats_servers(nats_server.url)
    assert f"is served by a platform on NATS {server}; this one uses 127.0.0.1:1" in errors
    assert await is_ready(old.port)


async def test_the_old_process_goes_on_when_the_new_one_dies_before_it_is_ready(
    nats_server: NatsServer, old: HttpServing
) -> None:
    # The port is claimed first: without an answer of NATS, the new process is not ready before it
    # is killed.
    os.kill(nats_server.pid, signal.SIGSTOP)
    try:
        new = await asyncio.create_subprocess_exec(
            *(*FOX, "serve", "http", "--http-port", str(old.port), "--take-over"),
            env={**os.environ, **nats_server.environ, "FOX_KEY_FILE": str(KEY_FILE)},
            stdout=asyncio.subprocess.DEVNULL,
        )
        await old.wait_logged("starts to take over port")
        new.kill()
        await new.wait()
    finally:
        os.kill(nats_server.pid, signal.SIGCONT)

    await old.wait_logged(f"has not taken over port {old.port}: it ended before it was ready")
    await wait_ready(old.port)
    assert old.process.returncode is None


async def test_a_port_held_by_another_program_is_not_taken_over(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        settings = load({}, nats_url=nats_server.url, http_port=port, http_take_over=True)

        code = await asyncio.to_thread(run_http, settings)

    assert code == 1
    assert "Address already in use" in capsys.readouterr().err


async def test_a_stopped_process_leaves_the_port_to_others(
    nats_server: NatsServer, old: HttpServing, tmp_path: Path
) -> None:
    old.process.send_signal(signal.SIGTERM)
    assert await old.wait_ended() == 0

    options = (f"--http-port={old.port}", "--workers=2")
    async with serve_http(nats_server, tmp_path / "log", *options):
        assert await is_ready(old.port)


def test_the_number_of_the_port_is_needed() -> None:
    settings = load({}, nats_url="nats://127.0.0.1:1", http_port=0, http_take_over=True)

    with pytest.raises(InvalidRequest, match="--http-port"), claim_port(settings, 1):
        pass


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("nats://127.0.0.1:4222", {"127.0.0.1:4222"}),
        ("nats://user:secret@A.example:1,tls://b.example", {"a.example:1", "b.example:4222"}),
        ("a.example:1, b.example", {"a.example:1", "b.example:4222"}),
    ],
)
def test_nats_servers_are_compared_without_credentials(url: str, servers: set[str]) -> None:
    assert nats_servers(url) == servers


def test_only_http_takes_a_port_over() -> None:
    done = run("serve", "control", "--take-over", FOX_NATS_URL="nats://127.0.0.1:1")

    assert done.returncode == 2
    assert "--take-over is for http only" in done.stderr
