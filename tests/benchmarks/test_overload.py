"""The benchmark of overload: its floods, its results, and the app that it drives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import pytest
import uvloop
from aiohttp import web

from benchmarks.e2e.kubefox import start_fox_up
from benchmarks.overload import noticing, platform
from benchmarks.overload.__main__ import DOCUMENT, NAME, RESULTS
from benchmarks.overload.capacity import HANDLERS, Run, goodput
from benchmarks.overload.flood_job import FloodJob, Manner
from benchmarks.overload.flooder import flooding
from benchmarks.overload.floods import floods
from benchmarks.overload.neighbours import Neighbour, Pair, neighbour
from benchmarks.overload.noticing import Sample, noticed
from benchmarks.overload.page import page
from benchmarks.overload.report import Report, aims
from benchmarks.overload.waiting_events import Emitter
from benchmarks.support.document import placed
from benchmarks.support.job import Outcome
from benchmarks.support.latency import Latencies
from benchmarks.support.programs import Programs
from tests.benchmarks.test_load import serving

CONNECTIONS = 5
WAIT_S = 30
GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def report() -> Report:
    return msgspec.json.decode(RESULTS.read_bytes(), type=Report)


class Counting:
    """Counts requests, and answers them by a function."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        self._answer = answer
        self._arrived = asyncio.Condition()
        self.requests = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests += 1
        async with self._arrived:
            self._arrived.notify_all()
        return await self._answer(request)

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S), self._arrived:
            await self._arrived.wait_for(lambda: self.requests >= count)


def flood(port: int, manner: Manner, *, stay_s: float = 0) -> FloodJob:
    return FloodJob(
        name="some",
        port=port,
        request=GET,
        connections=CONNECTIONS,
        manner=manner,
        stay_s=stay_s,
    )


async def test_a_flood_that_repeats_counts_every_answer() -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"done")

    server = Counting(answer)
    async with serving(server.handle) as port, flooding(flood(port, Manner.REPEAT)) as statuses:
        await server.wait_for(4 * CONNECTIONS)

    assert statuses.keys() == {"200"}
    assert server.requests - CONNECTIONS <= statuses["200"] <= server.requests


async def test_each_request_of_a_flood_has_its_whole_body() -> None:
    sizes: set[int] = set()

    async def answer(request: web.BaseRequest) -> web.Response:
        sizes.add(len(await request.read()))
        return web.Response(body=b"done")

    server = Counting(answer)
    async with serving(server.handle) as port:
        request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        job = msgspec.structs.replace(
            flood(port, Manner.REPEAT), request=request, body_bytes=100_000
        )
        async with flooding(job) as statuses:
            await server.wait_for(2 * CONNECTIONS)

    assert sizes == {100_000}
    assert statuses.keys() == {"200"}


async def test_a_flood_that_holds_its_connections_sends_nothing_more() -> None:
    async def answer(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"done")

    server = Counting(answer)
    async with serving(server.handle) as port, flooding(flood(port, Manner.HOLD)) as statuses:
        await server.wait_for(CONNECTIONS)

    assert server.requests == CONNECTIONS
    assert statuses.get("200", 0) <= CONNECTIONS


async def test_clients_that_leave_are_followed_by_new_ones() -> None:
    async def answer(_request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(WAIT_S)
        return web.Response()

    server = Counting(answer)
    async with (
        serving(server.handle) as port,
        flooding(flood(port, Manner.LEAVE, stay_s=0.01)) as statuses,
    ):
        await server.wait_for(3 * CONNECTIONS)

    assert statuses.keys() == {"left"}
    assert statuses["left"] >= 2 * CONNECTIONS


def outcome(goodput_per_s: float, p99_us: float = 9_000, **failures: int) -> Outcome:
    found = Latencies(p50_us=1_000, p99_us=p99_us)
    return Outcome(
        answers=100,
        seconds=1,
        latencies=found,
        accepted=found,
        failures={status.removeprefix("s"): count for status, count in failures.items()},
        goodput_per_s=goodput_per_s,
    )


def test_goodput_is_a_share_of_the_capacity_of_its_round() -> None:
    runs = [
        Run(capacity_per_s=50, outcome=outcome(45, s503=20)),
        Run(capacity_per_s=40, outcome=outcome(40, s503=30, unanswered=1)),
    ]

    found = goodput("some", 2, runs)

    assert (found.share.low, found.share.median, found.share.high) == (0.9, 0.95, 1)
    assert found.failures == {"503": 50, "unanswered": 1}
    assert found.offered == 201
    assert (found.p50_ms.median, found.p99_ms.median) == (1, 9)


def victim(*p99_us: tuple[float, float], holds_ms: float = 0, **failures: int) -> Neighbour:
    """Return the result of a flood, by the p99 of each round alone and beside it."""
    pairs = [
        Pair(
            alone=outcome(0, alone),
            beside=outcome(0, beside, **failures),
            flood_statuses={"200": 7},
        )
        for alone, beside in p99_us
    ]
    job = msgspec.structs.replace(flood(0, Manner.REPEAT), holds_ms=holds_ms)
    return neighbour(job, pairs)


def test_a_victim_is_compared_within_its_round() -> None:
    found = victim((1_000, 2_000), (10_000, 10_000), (4_000, 12_000), s502=2)

    assert (found.p99_ratio.low, found.p99_ratio.median, found.p99_ratio.high) == (1, 2, 3)
    assert found.failures == {"502": 6}
    assert found.flood_statuses == {"200": 21}


@pytest.mark.parametrize(
    ("found", "is_met"),
    [
        (victim((1_000, 3_000)), True),
        (victim((1_000, 3_100)), False),
        (victim((1_000, 21_000), holds_ms=20), True),
        (victim((1_000, 21_100), holds_ms=20), False),
    ],
)
def test_a_victim_may_take_three_times_as_long_or_one_handler_more(
    report: Report, found: Neighbour, *, is_met: bool
) -> None:
    measured = msgspec.structs.replace(report, neighbours=(found,))

    (aim,) = (aim for aim in aims(measured) if aim.text.startswith("p99 of a neighbour"))
    assert aim.is_met is is_met


@pytest.mark.parametrize(("status", "is_met"), [("s503", True), ("s504", False)])
def test_work_that_is_thrown_away_under_overload_misses_an_aim(
    report: Report, status: str, *, is_met: bool
) -> None:
    runs = [Run(capacity_per_s=50, outcome=outcome(50, **{status: 1}))]
    measured = msgspec.structs.replace(report, goodput=(goodput("some", 2, runs),))

    (aim,) = (aim for aim in aims(measured) if "neither 200 nor 503" in aim.text)
    assert aim.is_met is is_met


def test_a_fault_is_shown_with_the_answers_of_its_requests_in_flight(report: Report) -> None:
    samples = [
        Sample(answered_s=seconds, answer=answer, restored_s=2 * seconds)
        for seconds, answer in ((0.2, "502"), (0.1, "lost"), (0.3, "502"))
    ]
    measured = msgspec.structs.replace(report, faults=(noticed("a fault", samples),))

    row = "| a fault | 0.2 (0.1–0.3) | 502, lost | 0.4 (0.2–0.6) |"
    assert row in page(measured)


def test_the_page_shows_the_results_that_are_kept(report: Report) -> None:
    assert placed(DOCUMENT, NAME) == page(report) + "\n"


def test_the_results_have_every_load_flood_and_fault(report: Report) -> None:
    assert {one.handler for one in report.goodput} == {handler.name for handler in HANDLERS}
    found = [one.flood for one in report.neighbours]
    # A new flood has no results before the next run on a quiet machine.
    assert found == [job.name for job in floods(0) if job.name in found]
    faults = [fault.name for fault in (*noticing.IN_ONE, *noticing.APART)]
    assert [one.fault for one in report.faults] == faults


def test_the_platform_of_the_benchmark_answers_emits_and_recovers(tmp_path: Path) -> None:
    # A loop of its own, as a benchmark has it: the platform is started from inside.
    uvloop.run(_start_and_ask(tmp_path))


async def _start_and_ask(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_fox_up(programs)
        await platform.deploy(kubefox, programs)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for job in floods(kubefox.http_port):
            method, target, _ = job.request.split("\r\n")[0].split()
            url = f"http://127.0.0.1:{kubefox.http_port}{target}"
            url = url.replace("for_s=5", "for_s=0").replace("for_s=3", "for_s=0")
            async with session.request(method, url) as response:
                assert response.status == 200, url

        assert await Emitter(kubefox, session, folder).run_one() > 0

        killed = await noticing.sample(kubefox, noticing.IN_ONE[0])
        assert killed.answer == "502"
        assert killed.answered_s > 0
        assert killed.restored_s > 0
