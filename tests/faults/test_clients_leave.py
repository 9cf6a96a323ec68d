"""Clients that leave: GET handlers end on every hop, others run on, and no other client waits."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
import pytest_asyncio

from examples.demo.platform import Platform
from tests.adapters.http.raw import RawResponse, ask
from tests.e2e.slow_app import ENVIRONMENT

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

CLIENTS = 200
SOON_S = 120

_API = '''\
"""Waits, and records how each wait ends."""

import asyncio
from collections import Counter, defaultdict

from fox import Context, Kit

kit = Kit(title="API")
# By the test.
counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
may_end: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@kit.route("Path(`/wait`)")
@kit.default
async def wait(ctx: Context) -> str:
    """Wait until all of a test may end."""
    test = ctx.query["test"]
    counts[test]["begun"] += 1
    try:
        await may_end[test].wait()
    except asyncio.CancelledError:
        counts[test]["cancelled"] += 1
        raise
    counts[test]["done"] += 1
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
    """Let all waits of a test end."""
    may_end[ctx.query["test"]].set()


@kit.route("Path(`/counts`)")
async def show(ctx: Context) -> dict[str, int]:
    """Return how the waits of a test ended."""
    return counts[ctx.query["test"]]
'''
_WEB = '''\
"""Asks the API."""

from fox import Context, Kit, Response

kit = Kit(title="Web")
api = kit.component("api")


@kit.route("Path(`/web`)")
async def page(ctx: Context) -> Response:
    """Return the answer of the API."""
    return await api.request(ctx.method, "/", ctx=ctx, query={"test": ctx.query["test"]})
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


class Clients:
    """The clients of one test, whose handlers are counted apart.

    Args:
        platform: Has the app.
        test: Name of the test.
    """

    def __init__(self, platform: Platform, test: str) -> None:
        self._platform = platform
        self._port = urlsplit(platform.http_url).port or 0
        self._test = test

    async def ask(self, path: str, environment: str = "here") -> RawResponse:
        """Return the answer to a GET request."""
        return await ask(self._port, self._message("GET", path, environment))

    async def counts(self) -> dict[str, object]:
        """Return how the handlers ended."""
        # In another environment, which has places of its own.
        return (await self.ask("/counts", "there")).json()

    async def wait_for(self, key: str, count: int) -> None:
        """Return when so many handlers have begun or ended."""
        async with asyncio.timeout(SOON_S):
            while (await self.counts()).get(key) != count:
                await asyncio.sleep(0.05)

    async def leave(self, method: str, path: str, clients: int = CLIENTS) -> None:
        """Send a request from many clients, which all leave when their handlers have begun.

        Return when the adapter has noticed that. The pods notice it before any later request.
        """
        connections = [
            await asyncio.open_connection("127.0.0.1", self._port) for _ in range(clients)
        ]
        try:
            for _, writer in connections:
                writer.write(self._message(method, path))
            await self.wait_for("begun", clients)
        finally:
            for _, writer in connections:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for _, writer in connections))
        await self._wait_left()

    async def _wait_left(self) -> None:
        url = f"{self._platform.control_url}/v1/stats"
        headers = self._platform.credentials
        async with asyncio.timeout(SOON_S), aiohttp.ClientSession(headers=headers) as session:
            while True:
                async with session.get(url) as answer:
                    deployments = (await answer.json())["deployments"]
                if not sum(row["in_flight"] for row in deployments):
                    return
                await asyncio.sleep(0.05)

    def _message(self, method: str, path: str, environment: str = "here") -> bytes:
        target = f"{path}?test={self._test}&kf-dep=app&kf-ve={environment}"
        length = "Content-Length: 0\r\n" if method == "POST" else ""
        return f"{method} {target} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A platform whose requests may take long: a slow machine needs time for many clients."""
    folder = tmp_path_factory.mktemp("leaving")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("FOX_EVENT_TTL_S", "600")
        async with Platform(folder / "data") as platform:
            build(folder / "app")
            await platform.fox("apply", "-f", "environments.yaml", cwd=folder / "app")
            await platform.fox("deploy", "app", "--dirty", "--wait", cwd=folder / "app")
            yield platform


@pytest.fixture
def clients(platform: Platform, request: pytest.FixtureRequest) -> Clients:
    return Clients(platform, quote(request.node.name))


@pytest.mark.parametrize("path", ["/wait", "/web"])
async def test_get_handlers_end_on_every_hop_when_their_clients_leave(
    clients: Clients, path: str
) -> None:
    await clients.leave("GET", path)

    await clients.wait_for("cancelled", CLIENTS)
    assert "done" not in await clients.counts()


@pytest.mark.parametrize(("method", "path"), [("POST", "/wait"), ("GET", "/keep")])
async def test_other_handlers_run_on(clients: Clients, method: str, path: str) -> None:
    await clients.leave(method, path)

    await clients.ask("/end")
    await clients.wait_for("done", CLIENTS)
    assert "cancelled" not in await clients.counts()


async def test_nobody_waits_for_the_places_of_clients_that_left(clients: Clients) -> None:
    await clients.leave("POST", "/wait", clients=1_000)

    answers = [(await clients.ask("/answer")).status for _ in range(50)]

    assert answers == [200] * 50
    assert "done" not in await clients.counts()
    await clients.ask("/end")
    await clients.wait_for("done", 1_000)
