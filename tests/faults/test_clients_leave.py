"""Clients that leave: GET handlers end on every hop, others run on, and no other client waits."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from examples.demo.platform import Platform
from tests.adapters.http.raw import ask
from tests.e2e.slow_app import ENVIRONMENT

pytestmark = pytest.mark.faults

CLIENTS = 200
SOON_S = 120

_API = '''\
"""Waits, and records how each wait ends."""

import asyncio
from collections import Counter

from fox import Context, Kit

kit = Kit(title="API")
counts: Counter[str] = Counter()
may_end = asyncio.Event()


@kit.route("Path(`/wait`)")
@kit.default
async def wait(ctx: Context) -> str:
    """Wait until all may end."""
    counts["begun"] += 1
    try:
        await may_end.wait()
    except asyncio.CancelledError:
        counts["cancelled"] += 1
        raise
    counts["done"] += 1
    return "done"


@kit.route("Path(`/keep`)", cancel_on_disconnect=False)
async def keep(ctx: Context) -> str:
    """Wait also without a client."""
    return await wait(ctx)


@kit.route("Path(`/answer`)")
async def answer(ctx: Context) -> str:
    """Answer at once."""
    return "done"


@kit.route("Path(`/end`)")
async def end(ctx: Context) -> None:
    """Let all waits end."""
    may_end.set()


@kit.route("Path(`/counts`)")
async def show(ctx: Context) -> dict[str, int]:
    """Return how the waits ended."""
    return counts
'''
_WEB = '''\
"""Asks the API."""

from fox import Context, Kit, Response

kit = Kit(title="Web")
api = kit.component("api")


@kit.route("Path(`/web`)")
async def page(ctx: Context) -> Response:
    """Return the answer of the API."""
    return await api.request(ctx.method, "/", ctx=ctx)
'''


def build(folder: Path) -> None:
    for name, source in (("api", _API), ("web", _WEB)):
        component = folder / "components" / name
        component.mkdir(parents=True)
        (component / "main.py").write_text(source)
    (folder / "app.yaml").write_text("name: leaving\n")
    _, second = ENVIRONMENT.split("---\n")
    second = second.replace("name: here", "name: there")
    (folder / "environments.yaml").write_text(f"{ENVIRONMENT}---\n{second}")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    """A platform whose requests may take long: a slow machine needs time for many clients."""
    monkeypatch.setenv("FOX_EVENT_TTL_S", "600")
    async with Platform(tmp_path / "data") as platform:
        folder = tmp_path / "app"
        build(folder)
        await platform.fox("apply", "-f", "environments.yaml", cwd=folder)
        await platform.fox("deploy", "app", "--dirty", "--wait", cwd=folder)
        yield platform


@pytest.fixture
def port(platform: Platform) -> int:
    return urlsplit(platform.http_url).port or 0


def message(method: str, path: str, environment: str = "here") -> bytes:
    target = f"{path}?kf-dep=app&kf-ve={environment}"
    length = "Content-Length: 0\r\n" if method == "POST" else ""
    return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode()


async def counts(port: int) -> dict[str, object]:
    # In another environment, which has places of its own.
    return (await ask(port, message("GET", "/counts", "there"))).json()


async def wait_for(port: int, key: str, count: int) -> None:
    async with asyncio.timeout(SOON_S):
        while (await counts(port)).get(key) != count:
            await asyncio.sleep(0.05)


async def wait_until_no_client_waits(platform: Platform) -> None:
    url = f"{platform.control_url}/v1/stats"
    async with (
        asyncio.timeout(SOON_S),
        aiohttp.ClientSession(headers=platform.credentials) as session,
    ):
        while True:
            async with session.get(url) as answer:
                deployments = (await answer.json())["deployments"]
            if not sum(row["in_flight"] for row in deployments):
                return
            await asyncio.sleep(0.05)


async def leave(platform: Platform, port: int, data: bytes, clients: int = CLIENTS) -> None:
    """Send a request from many clients, which all leave when their handlers have begun.

    Return when the adapter has noticed that. The pods notice it before any later request.
    """
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    try:
        for _, writer in connections:
            writer.write(data)
        await wait_for(port, "begun", clients)
    finally:
        for _, writer in connections:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in connections))
    await wait_until_no_client_waits(platform)


@pytest.mark.parametrize("path", ["/wait", "/web"])
async def test_get_handlers_end_on_every_hop_when_their_clients_leave(
    platform: Platform, port: int, path: str
) -> None:
    await leave(platform, port, message("GET", path))

    await wait_for(port, "cancelled", CLIENTS)
    assert "done" not in await counts(port)


@pytest.mark.parametrize(("method", "path"), [("POST", "/wait"), ("GET", "/keep")])
async def test_other_handlers_run_on(platform: Platform, port: int, method: str, path: str) -> None:
    await leave(platform, port, message(method, path))

    await ask(port, message("GET", "/end"))
    await wait_for(port, "done", CLIENTS)
    assert "cancelled" not in await counts(port)


async def test_nobody_waits_for_the_places_of_clients_that_left(
    platform: Platform, port: int
) -> None:
    await leave(platform, port, message("POST", "/wait"), clients=1_000)

    answers = [(await ask(port, message("GET", "/answer"))).status for _ in range(50)]

    assert answers == [200] * 50
    assert "done" not in await counts(port)
    await ask(port, message("GET", "/end"))
