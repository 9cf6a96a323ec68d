"""A site: ``fox up`` and a ``fox serve http`` on one NATS that holds so many previews."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from benchmarks.e2e.kubefox import (
    FOX,
    KubeFox,
    commit,
    deploy_app,
    port_of,
    serve_http,
    start_fox_up,
)
from benchmarks.routing.bucket import Nats
from benchmarks.scale.previews import TESTING, plain_path, preview_name, write_previews
from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import POLL_S, Program, Programs, rss_bytes, running_ns
from kubefox.environment import Environment, PolicyType, ReleasePolicy

SECOND = "bench-2"
_SETTLED_NS = 2_000_000
_SETTLE_S = 0.1
_GIVE_UP_S = 120


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A running site.

    Attributes:
        size: Number of previews.
        kubefox: ``fox up``.
        http: ``fox serve http``, a process that only routes.
        session: Session of the control API.
        pids: Process id by role: ``fox up``, ``http``, ``NATS``.
        folder: Folder for files.
        first_answer_s: Time from the start of ``fox up`` to the first 200 of a released URL.
    """

    size: int
    kubefox: KubeFox
    http: Program
    session: aiohttp.ClientSession
    pids: dict[str, int]
    folder: Path
    first_answer_s: float

    @property
    def http_port(self) -> int:
        """Port of the HTTP adapter in ``fox up``."""
        return self.kubefox.http_port

    def cpu_ns(self) -> dict[str, int]:
        """Return the CPU time of each process until now."""
        return {role: running_ns((pid,)) for role, pid in self.pids.items()}

    def rss_bytes(self) -> dict[str, int]:
        """Return the resident memory of each process."""
        return {role: rss_bytes((pid,)) for role, pid in self.pids.items()}

    async def settle(self) -> None:
        """Return when all processes are at rest: later work of a change belongs to the change."""
        async with asyncio.timeout(_GIVE_UP_S):
            while True:
                before = sum(self.cpu_ns().values())
                await asyncio.sleep(_SETTLE_S)
                if sum(self.cpu_ns().values()) - before < _SETTLED_NS:
                    return

    async def send(self, method: str, path: str, body: object = None) -> Any:
        """Call the control API and return its JSON.

        Raises:
            RuntimeError: It answers with an error; the message holds the answer.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"}
        async with self.session.request(method, path, data=content, headers=headers) as answer:
            text = await answer.read()
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
            return msgspec.json.decode(text) if text else None

    async def hashes(self, deployment: str) -> Mapping[str, str]:
        """Return the components of a deployment."""
        found = await self.send("GET", f"/v1/deployments/{deployment}")
        components: dict[str, str] = found["object"]["components"]
        return components


@contextlib.asynccontextmanager
async def open_site(folder: Path, size: int) -> AsyncIterator[Site]:
    """Run a site until the context ends.

    Args:
        folder: Folder for its data; it is created.
        size: Number of previews.
    """
    async with open_previews(folder, size) as nats, start_site(folder, size, nats) as site:
        yield site


@contextlib.asynccontextmanager
async def open_previews(folder: Path, size: int) -> AsyncIterator[Nats]:
    """Run a NATS with so many previews until the context ends.

    Args:
        folder: Folder for its data; it is created.
        size: Number of previews.
    """
    folder.mkdir(parents=True)
    nats = Nats(folder)
    await nats.start()
    try:
        address = NatsAddress(url=nats.url)
        await _prepare(folder, address)
        await write_previews(address, size)
        yield nats
    finally:
        await nats.stop()


@contextlib.asynccontextmanager
async def start_site(folder: Path, size: int, nats: Nats) -> AsyncIterator[Site]:
    """Run ``fox up`` and ``fox serve http`` on a NATS until the context ends.

    Args:
        folder: Folder of ``open_previews``.
        size: Number of previews.
        nats: The NATS.
    """
    address = NatsAddress(url=nats.url)
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        begin_s = time.perf_counter()
        kubefox = await start_fox_up(programs, nats=address)
        first_answer_s = await _first_answer(kubefox.http_port, size) - begin_s
        http = await serve_http(programs, address)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(kubefox.control_url, headers=kubefox.credentials)
        )
        pids = {"fox up": kubefox.processes["fox up"][0], "http": http.pid, "NATS": nats.pid}
        await _first_answer(port_of(http), size)
        yield Site(
            size=size,
            kubefox=kubefox,
            http=http,
            session=session,
            pids=pids,
            folder=folder,
            first_answer_s=first_answer_s,
        )


async def _prepare(folder: Path, nats: NatsAddress) -> None:
    """Deploy two versions of the benchmark's app, and create the environment of the previews."""
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_fox_up(programs, nats=nats)
        app = await deploy_app(kubefox, programs)
        with (app / "components" / "back" / "main.py").open("a") as code:
            code.write("# Second version\n")
        await asyncio.to_thread(commit, app)
        environ = kubefox.environ
        await programs.run(
            FOX, "deploy", SECOND, "--version", "v2", "--wait", cwd=app, environ=environ
        )
        policy = ReleasePolicy(type=PolicyType.TESTING)
        environment = Environment(name=TESTING, release_policy=policy)
        await asyncio.to_thread(
            kubefox.control.put, "v1", "environments", TESTING, body=environment
        )


async def _first_answer(port: int, size: int) -> float:
    """Return the time at which a plain URL of the last preview is answered with 200."""
    url = f"http://127.0.0.1:{port}{plain_path(preview_name(size - 1))}"
    async with asyncio.timeout(_GIVE_UP_S), aiohttp.ClientSession() as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == HTTPStatus.OK:
                        return time.perf_counter()
            await asyncio.sleep(POLL_S)
