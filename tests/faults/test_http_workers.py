"""The death or the replacement of an HTTP worker fails at most the requests in flight on it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from fox import Context, Kit
from tests.faults.http_load import LOST, http_load
from tests.support.certificates import Authority
from tests.support.http_serving import STOP_S, HttpServing, serve_http
from tests.support.nats import NatsServer
from tests.support.world import open_world

pytestmark = pytest.mark.faults

WORKERS = 2
HELD = 20
# A stopping adapter keeps idle connections for longer than a slow client takes to use them again.
PATIENT = {"FOX_HTTP_IDLE_GRACE_S": "30"}


@pytest.fixture
async def nats(own_nats_server: NatsServer) -> AsyncIterator[NatsServer]:
    """A NATS with a released component that takes 20 ms for a request."""
    kit = Kit()

    @kit.route("All()")
    async def respond(_ctx: Context) -> str:
        await asyncio.sleep(0.02)
        return "done"

    async with open_world(own_nats_server.url) as world:
        await world.serve("v1", {"web": kit}, released_in="team-a")
        yield own_nats_server


@pytest.fixture
async def serving(nats: NatsServer, tmp_path: Path) -> AsyncIterator[HttpServing]:
    options = ("--workers", str(WORKERS))
    async with serve_http(nats, tmp_path / "log", *options, **PATIENT) as serving:
        yield serving


def secured(folder: Path) -> tuple[dict[str, str], ssl.SSLContext]:
    """Return the settings of a listener with TLS, and the context of its clients."""
    authority = Authority(folder)
    certificate, key = authority.issue("server")
    environ = {"FOX_HTTP_TLS_CERT": str(certificate), "FOX_HTTP_TLS_KEY": str(key)}
    return environ, authority.client_context()


async def wait_gone(process: psutil.Process) -> None:
    await asyncio.to_thread(process.wait, STOP_S)


async def wait_refused(port: int) -> None:
    """Return when no process accepts connections any more."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_killed_worker_fails_only_the_requests_in_flight_on_it(
    serving: HttpServing,
) -> None:
    loop, victim = asyncio.get_running_loop(), serving.workers[0]
    async with (
        http_load(serving.port, keeps_alive=False) as new,
        http_load(serving.port, keeps_alive=True) as kept,
    ):
        await asyncio.gather(new.wait_ended(100), kept.wait_ended(100))
        victim.kill()
        await wait_gone(victim)
        gone_s = loop.time()
        await serving.wait_logged(f"(process {victim.pid}) was killed by SIGKILL")
        await asyncio.gather(new.wait_ended(200), kept.wait_ended(200))
        await serving.wait_logged(" now\n")
        pids = {worker.pid for worker in serving.workers}

    ((number, pid),) = re.findall(r"worker (\d) is process (\d+) now", serving.log)
    assert int(pid) in pids
    assert f"worker {number} (process {victim.pid}) was killed" in serving.log
    failed = new.failed + kept.failed
    assert {request.result for request in failed} <= {LOST}
    assert all(request.started_s <= gone_s for request in failed)


async def test_rolling_the_workers_fails_no_request(serving: HttpServing) -> None:
    before = {worker.pid for worker in serving.workers}
    async with (
        http_load(serving.port, keeps_alive=False) as new,
        http_load(serving.port, keeps_alive=True) as kept,
    ):
        await asyncio.gather(new.wait_ended(50), kept.wait_ended(50))
        serving.process.send_signal(signal.SIGHUP)
        await serving.wait_logged("all workers are replaced")
        await asyncio.gather(new.wait_ended(50), kept.wait_ended(50))
        after = {worker.pid for worker in serving.workers}

    assert (new.failed, kept.failed) == ([], [])
    assert len(after) == WORKERS
    assert not before & after


async def test_a_signal_while_replaced_workers_drain_loses_no_request(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    kit, held, may_answer = Kit(), list[str](), asyncio.Event()

    @kit.route("All()")
    async def respond(ctx: Context) -> str:
        held.append(ctx.id)
        await may_answer.wait()
        return "done"

    async def ask(client: aiohttp.ClientSession, port: int) -> str:
        # The client would send a GET again.
        async with client.post(f"http://127.0.0.1:{port}/") as answer:
            return await answer.text()

    async with (
        open_world(own_nats_server.url) as world,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
    ):
        await world.serve("v1", {"web": kit}, released_in="team-a")
        options = ("--workers", str(WORKERS))
        async with serve_http(own_nats_server, tmp_path / "log", *options) as serving:
            asking = [asyncio.create_task(ask(client, serving.port)) for _ in range(HELD)]
            while len(held) < HELD:
                await asyncio.sleep(0.01)
            serving.process.send_signal(signal.SIGHUP)
            await serving.wait_logged(" now\n")

            serving.process.send_signal(signal.SIGTERM)
            await wait_refused(serving.port)
            may_answer.set()

            answers = await asyncio.gather(*asking, return_exceptions=True)
            code = await serving.wait_ended()

    assert answers == ["done"] * HELD
    assert code == 0


@pytest.mark.parametrize(
    ("old_workers", "new_workers", "has_tls"),
    [(1, 1, True), (2, 3, False), (3, 1, True)],
)
async def test_taking_a_port_over_fails_no_request(
    nats: NatsServer, tmp_path: Path, old_workers: int, new_workers: int, *, has_tls: bool
) -> None:
    environ, tls = await asyncio.to_thread(secured, tmp_path) if has_tls else ({}, None)
    environ |= PATIENT
    async with contextlib.AsyncExitStack() as stack:
        old_log, new_log = tmp_path / "old", tmp_path / "new"
        old = await stack.enter_async_context(
            serve_http(nats, old_log, f"--workers={old_workers}", **environ)
        )
        options = (f"--http-port={old.port}", f"--workers={new_workers}", "--take-over")
        async with (
            http_load(old.port, keeps_alive=False, tls=tls) as new,
            http_load(old.port, keeps_alive=True, tls=tls) as kept,
        ):
            await asyncio.gather(new.wait_ended(50), kept.wait_ended(50))
            await stack.enter_async_context(serve_http(nats, new_log, *options, **environ))
            code = await old.wait_ended()
            await asyncio.gather(new.wait_ended(50), kept.wait_ended(50))

        assert (new.failed, kept.failed, code) == ([], [], 0)
