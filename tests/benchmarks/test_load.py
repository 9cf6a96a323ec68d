"""The load generator counts every answer and measures open-loop latency from the due time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import open_generator, run

STALL_S = 0.3
ACCEPTED_S = 0.01
RATE_PER_S = 500.0
# Far more than any machine needs: loops end by their number of answers.
LONG_S = 60.0
MANY = 30


@asynccontextmanager
async def serving(
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[int]:
    """Serve on a free port, and return it."""
    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    yield port
    await runner.cleanup()


def closed(port: int, connections: int = 2) -> Job:
    """Return a closed loop that ends after ``MANY`` answers."""
    return Job(
        port=port, paths=("/",), connections=connections, duration_s=LONG_S, max_answers=MANY
    )


def due(port: int, *paths: str) -> Job:
    """Return an open loop of 50 requests."""
    return Job(
        port=port,
        paths=paths or ("/",),
        duration_s=0.1,
        rate_per_s=RATE_PER_S,
        grace_s=LONG_S,
    )


async def answer(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"x" * 512)


async def test_a_closed_loop_counts_every_answer() -> None:
    async with serving(answer) as port:
        found = await run(closed(port, connections=4))

    assert found.answers == MANY
    assert found.failures == {}
    assert 0 < found.latencies.p50_us <= found.latencies.p99_us <= found.latencies.max_us


async def test_every_connection_has_one_request_under_way_and_no_more() -> None:
    under_way = most = 0
    all_busy = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            all_busy.set()
        await all_busy.wait()
        under_way -= 1
        return await answer(request)

    async with serving(handle) as port:
        await run(closed(port, connections=3))

    assert most == 3


async def test_an_open_loop_sends_every_request_that_is_due() -> None:
    seen = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.path_qs)
        return await answer(request)

    async with serving(handle) as port:
        found = await run(due(port, "/a?n=1", "/b"))

    assert found.answers == RATE_PER_S * 0.1
    assert sorted(seen) == ["/a?n=1"] * 25 + ["/b"] * 25


async def test_open_loop_latency_counts_from_the_due_time() -> None:
    """A closed loop would see one slow answer; here half of all requests are late."""
    first = True

    async def handle(request: web.BaseRequest) -> web.Response:
        nonlocal first
        if first:
            first = False
            time.sleep(STALL_S)  # noqa: ASYNC251 - blocks the loop, as a garbage collection does
        return await answer(request)

    async with serving(handle) as port:
        found = await _load_from_outside(port)

    assert found.answers == RATE_PER_S * 2 * STALL_S
    assert found.latencies.max_us >= STALL_S * 1e6
    # The request due in the middle of the stall waited for half of it.
    assert found.latencies.p90_us >= STALL_S / 2 * 1e6


async def _load_from_outside(port: int) -> Outcome:
    async with open_generator() as generator:
        job = Job(
            port=port,
            paths=("/",),
            connections=1,
            duration_s=2 * STALL_S,
            rate_per_s=RATE_PER_S,
            grace_s=LONG_S,
        )
        return await generator.run(job)


async def test_accepted_answers_are_measured_apart_from_refused_ones() -> None:
    is_refused = False

    async def handle(_request: web.BaseRequest) -> web.Response:
        nonlocal is_refused
        is_refused = not is_refused
        if is_refused:
            return web.Response(status=503)
        await asyncio.sleep(2 * ACCEPTED_S)
        return web.Response()

    async with serving(handle) as port:
        found = await run(closed(port, connections=1))

    assert found.failures == {"503": MANY // 2}
    assert found.succeeded == MANY // 2
    assert found.goodput_per_s == pytest.approx(found.succeeded / LONG_S)
    # Half of all answers are refusals, which take no time. A timer may fire a little early.
    assert found.accepted.p50_us >= ACCEPTED_S * 1e6


@pytest.mark.parametrize("make", [closed, due])
async def test_failures_are_counted_by_status(make: Callable[[int], Job]) -> None:
    async def handle(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    async with serving(handle) as port:
        found = await run(make(port))

    assert found.answers > 0
    assert found.failures == {"503": found.answers}


async def test_bodies_are_sent_and_read_whole() -> None:
    sizes = set()

    async def handle(request: web.BaseRequest) -> web.Response:
        sizes.add((request.method, len(await request.read())))
        return web.Response(body=b"x" * 300_000)

    async with serving(handle) as port:
        job = msgspec.structs.replace(closed(port), body_bytes=100_000)
        found = await run(job)

    assert sizes == {("POST", 100_000)}
    assert found.answers == MANY
    assert found.failures == {}


async def test_a_broken_connection_is_a_failure() -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return await answer(request)

    async with serving(handle) as port:
        found = await run(closed(port))

    assert found.failures == {"lost": 2}


async def test_headers_are_sent_with_each_request() -> None:
    seen = set()

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.add(request.headers["x-asked"])
        return await answer(request)

    async with serving(handle) as port:
        await run(msgspec.structs.replace(closed(port), headers={"x-asked": "yes"}))

    assert seen == {"yes"}


async def test_one_generator_carries_out_many_jobs() -> None:
    async with serving(answer) as port, open_generator() as generator:
        outcomes = [await generator.run(closed(port)) for _ in range(2)]

    assert [outcome.answers for outcome in outcomes] == [MANY, MANY]
