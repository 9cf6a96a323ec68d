"""Overload and floods: accepted requests are answered, and a neighbour on the pod loses none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from examples.demo.platform import Platform, wait_for
from tests.adapters.http.raw import ask, connect
from tests.e2e.slow_app import ENVIRONMENT

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

PLACES = 20
SOON_S = 60
OK = "ok"

_MAIN = '''\
"""Computes, waits, streams, and reads bodies."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator

from fox import Context, Kit, Response

kit = Kit(title="Busy")
ended: Counter[str] = Counter()


@kit.route("Path(`/compute`)")
async def compute(ctx: Context) -> str:
    """Hold the loop."""
    time.sleep(float(ctx.query["for_s"]))
    ended["compute"] += 1
    return "done"


@kit.route("Path(`/wait`)")
async def wait(ctx: Context) -> str:
    """Wait without holding the loop."""
    await asyncio.sleep(float(ctx.query["for_s"]))
    return "done"


@kit.route("Path(`/endless`)")
async def endless(ctx: Context) -> Response:
    """Stream without end."""

    async def chunks() -> AsyncIterator[bytes]:
        while True:
            yield b"more"
            await asyncio.sleep(1)

    return Response.stream(chunks())


@kit.route("Path(`/upload`)")
async def upload(ctx: Context) -> str:
    """Read a whole body."""
    return str(len(ctx.body))


@kit.route("Path(`/page`)")
async def show_page(ctx: Context) -> bytes:
    """Return a large body."""
    return bytes(400_000)


@kit.route("Path(`/ended`)")
async def show(ctx: Context) -> dict[str, int]:
    """Return how many computations have ended."""
    return ended
'''


LIMITS = {
    "FOX_POD_CONCURRENCY": f"{PLACES}",
    "FOX_HTTP_STREAMS": f"{PLACES}",
    "FOX_EVENT_TTL_S": "120",
}
# An event waits in the pod for so long that a slow machine refuses none.
PATIENT = LIMITS | {"FOX_POD_MAX_WAIT_S": "60"}
REFUSING = LIMITS | {"FOX_POD_MAX_WAIT_S": "1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A platform that refuses nothing."""
    async with open_platform(tmp_path_factory.mktemp("shared"), PATIENT) as platform:
        yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def port(shared: Platform) -> int:
    """Port of the shared platform, which has ended all events of the tests before."""
    await wait_for(partial(is_idle, shared), SOON_S)
    return port_of(shared)


@pytest_asyncio.fixture(loop_scope="module")
async def refusing(tmp_path: Path) -> AsyncIterator[Platform]:
    """A platform that refuses what would wait for a second; its estimate is that of one test."""
    async with open_platform(tmp_path, REFUSING) as platform:
        yield platform


@contextlib.asynccontextmanager
async def open_platform(folder: Path, environ: Mapping[str, str]) -> AsyncIterator[Platform]:
    """Run a platform, which alone gets ``environ``, with a component in two environments."""
    app = folder / "app"
    build(app)
    platform = Platform(folder / "data")
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            await platform.start()
        await platform.fox("apply", "-f", "environments.yaml", cwd=app)
        await platform.fox("deploy", "app", "--dirty", "--wait", cwd=app)
        yield platform
    finally:
        await platform.stop()


async def is_idle(platform: Platform) -> bool:
    url = f"{platform.control_url}/v1/stats"
    async with aiohttp.request("GET", url, headers=platform.credentials) as answer:
        return not any(row["in_flight"] for row in (await answer.json())["deployments"])


def port_of(platform: Platform) -> int:
    return urlsplit(platform.http_url).port or 0


def build(folder: Path) -> None:
    component = folder / "components" / "busy"
    component.mkdir(parents=True)
    (component / "main.py").write_text(_MAIN)
    (folder / "app.yaml").write_text("name: busy\n")
    _, second = ENVIRONMENT.split("---\n")
    second = second.replace("name: here", "name: there")
    (folder / "environments.yaml").write_text(f"{ENVIRONMENT}---\n{second}")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def target(path: str, environment: str = "here") -> str:
    return f"{path}{'&' if '?' in path else '?'}kf-dep=app&kf-ve={environment}"


def get(path: str, environment: str = "here") -> bytes:
    head = f"GET {target(path, environment)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return head.encode()


async def statuses(port: int, data: bytes, count: int, rate_per_s: float) -> Counter[str]:
    """Send a request at a constant rate, and return the number of answers by their code."""
    found: Counter[str] = Counter()

    async def send() -> None:
        answer = await ask(port, data)
        found[OK if answer.status == 200 else str(answer.json()["code"])] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(send())
            await asyncio.sleep(1 / rate_per_s)
    return found


@contextlib.asynccontextmanager
async def flood(
    port: int, data: bytes, count: int, *, is_answered: bool = False
) -> AsyncIterator[list[int]]:
    """Send bytes on many connections, and keep these open while the context lasts.

    Args:
        port: Of the adapter.
        data: A request, or a part of one.
        count: Number of connections.
        is_answered: Whether to wait for the answer on each; the context gets their statuses.
    """
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(port)) for _ in range(count)]
        for client in clients:
            await client.send(data)
        yield [(await client.read_head()).status for client in clients] if is_answered else []


async def of_a_neighbour(port: int) -> Counter[str]:
    """Return the answers that another virtual environment gets."""
    return await statuses(port, get("/wait?for_s=0", "there"), 50, 50)


async def test_no_work_is_thrown_away_over_the_capacity(refusing: Platform) -> None:
    port = port_of(refusing)

    # The pod needs 12 s: more than it has, however slowly a machine sends them.
    found = await statuses(port, get("/compute?for_s=0.04"), 300, 1000)

    assert found.keys() == {OK, "overloaded"}
    assert (await ask(port, get("/ended"))).json() == {"compute": found[OK]}


async def test_every_refused_request_is_counted_with_its_reason(refusing: Platform) -> None:
    found = await statuses(port_of(refusing), get("/compute?for_s=0.02"), 300, 1000)
    totals: list[dict[str, int]] = []

    async def are_counted() -> bool:
        stats = json.loads(await refusing.fox("stats", "-o", "json"))
        deployments = [row["total"] for row in stats["deployments"]]
        components = [row["all"]["total"] for row in stats["components"]]
        totals[:] = [total["refused"] for total in (*deployments, *components)]
        return sum(sum(total.values()) for total in totals) >= 2 * found["overloaded"]

    # The figures of a process that answers too late are missing.
    await wait_for(are_counted, SOON_S)
    table = await refusing.fox("stats", "--by", "reason")

    assert found["overloaded"] > 0
    assert totals == [{"too_late": found["overloaded"]}] * 2
    rows = [line.split()[-4:] for line in table.splitlines()[1:]]
    assert rows == [["app", "here", "too_late", str(found["overloaded"])]] * 2


async def test_events_that_wait_until_their_deadline_are_refused_before_it(
    tmp_path: Path,
) -> None:
    async with open_platform(tmp_path, {"FOX_EVENT_TTL_S": "8"}) as platform:
        port = port_of(platform)
        # The two need 15 s, and no event is refused before the pod knows how fast they begin.
        floods = [
            statuses(port, get("/compute?for_s=0.05", environment), 150, 1_000)
            for environment in ("here", "there")
        ]
        found = sum(await asyncio.gather(*floods), Counter())

    # A stall of the pod or of the adapter may outlast the tenth of the time that is kept for the
    # refusal.
    assert {"overloaded"} <= found.keys() <= {OK, "overloaded", "deadline_exceeded"}
    assert found.total() == 300


async def test_a_refused_request_gets_retry_after(refusing: Platform) -> None:
    port = port_of(refusing)

    async with flood(port, get("/wait?for_s=10"), 4 * PLACES):
        while (answer := await ask(port, get("/wait?for_s=0"))).status != 503:
            await asyncio.sleep(0.01)

    assert answer.json()["code"] == "overloaded"
    assert answer.header("retry-after") == "1"


async def test_a_neighbour_loses_nothing_beside_long_requests(port: int) -> None:
    async with flood(port, get("/wait?for_s=60"), 4 * PLACES):
        found = await of_a_neighbour(port)

    assert found == {OK: 50}


async def test_a_neighbour_loses_nothing_beside_requests_that_hold_the_loop(port: int) -> None:
    async with flood(port, get("/compute?for_s=0.02"), 500):
        found = await of_a_neighbour(port)

    assert found == {OK: 50}


async def test_a_neighbour_loses_nothing_beside_half_sent_bodies(port: int) -> None:
    head = f"POST {target('/upload')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with flood(port, head.encode() + b"3\r\nabc\r\n", 4 * PLACES):
        found = await of_a_neighbour(port)

    assert found == {OK: 50}


async def test_a_neighbour_loses_nothing_beside_open_streams(port: int) -> None:
    async with flood(port, get("/endless"), 4 * PLACES, is_answered=True):
        found = await of_a_neighbour(port)

    assert found == {OK: 50}


async def test_a_neighbour_can_open_streams_beside_those_of_a_flood(port: int) -> None:
    async with (
        flood(port, get("/endless"), 4 * PLACES, is_answered=True),
        flood(port, get("/endless", "there"), PLACES // 4, is_answered=True) as opened,
    ):
        assert opened == [200] * (PLACES // 4)


async def test_each_half_sent_body_is_answered_with_408_and_a_neighbour_loses_nothing(
    tmp_path: Path,
) -> None:
    head = f"POST {target('/upload')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunked = (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + b"3\r\nabc\r\n"

    # The other requests have no body, so that none is too slow.
    async with open_platform(tmp_path, PATIENT | {"FOX_CLIENT_STALL_S": "1"}) as platform:
        port = port_of(platform)
        flood, found = await asyncio.gather(
            statuses(port, chunked, 4 * PLACES, 1000), of_a_neighbour(port)
        )

    assert flood == {"body_too_slow": 4 * PLACES}
    assert found == {OK: 50}


async def test_half_sent_bodies_take_no_places_of_other_bodies(port: int) -> None:
    head = f"POST {target('/upload')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    chunked = (head + "Transfer-Encoding: chunked\r\n\r\n").encode()
    # Too long to arrive with its head.
    size = 300_000
    whole = chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (size, bytes(size))
    async with flood(port, chunked + b"3\r\nabc\r\n", 4 * PLACES):
        own = await statuses(port, whole, 20, 50)

    assert own == {OK: 20}


async def test_open_streams_take_no_places_of_other_events(port: int) -> None:
    async with flood(port, get("/endless"), 2 * PLACES, is_answered=True):
        own = await statuses(port, get("/wait?for_s=0"), 20, 50)

    assert own == {OK: 20}


async def test_large_answers_at_once_are_whole_beside_streams_that_take_all_places(
    port: int,
) -> None:
    async with flood(port, get("/endless"), 2 * PLACES, is_answered=True):
        answers = await asyncio.gather(*(ask(port, get("/page")) for _ in range(PLACES)))

    assert [(answer.status, len(answer.body)) for answer in answers] == [(200, 400_000)] * PLACES
