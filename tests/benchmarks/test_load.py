"""The load generator counts what came back, and charges a stall to all that had to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from benchmarks.support.job import Job, Outcome
from benchmarks.support.load import open_generator, run

STALL_S = 0.3
RATE_PER_S = 500.0


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


async def answer(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"x" * 512)


async def test_a_closed_loop_counts_every_answer() -> None:
    async with serving(answer) as port:
        found = await run(Job(port=port, paths=("/",), connections=4, duration_s=0.1))

    assert found.answers > 0
    assert found.failures == {}
    assert 0 < found.latencies.p50_us <= found.latencies.p99_us <= found.latencies.max_us


async def test_every_connection_has_one_request_under_way_and_no_more() -> None:
    under_way = most = 0

    async def handle(request: web.BaseRequest) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await answer(request)

    async with serving(handle) as port:
        await run(Job(port=port, paths=("/",), connections=3, duration_s=0.1))

    assert most == 3


async def test_an_open_loop_sends_exactly_what_is_due() -> None:
    seen = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.path_qs)
        return await answer(request)

    async with serving(handle) as port:
        job = Job(port=port, paths=("/a?n=1", "/b"), duration_s=0.1, rate_per_s=RATE_PER_S)
        found = await run(job)

    assert found.answers == RATE_PER_S * 0.1
    assert sorted(seen) == ["/a?n=1"] * 25 + ["/b"] * 25


async def test_an_open_loop_charges_a_stall_to_all_that_were_due_meanwhile() -> None:
    """With one connection, a closed loop would see one slow answer; here half of all are late."""
    first = True

    async def handle(request: web.BaseRequest) -> web.Response:
        nonlocal first
        if first:
            first = False
            time.sleep(STALL_S)  # noqa: ASYNC251 - nothing at all gets on, as in a collection
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
            port=port, paths=("/",), connections=1, duration_s=2 * STALL_S, rate_per_s=RATE_PER_S
        )
        return await generator.run(job)


@pytest.mark.parametrize("rate_per_s", [None, RATE_PER_S])
async def test_other_answers_than_200_are_told_by_their_status(rate_per_s: float | None) -> None:
    async def handle(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=503)

    async with serving(handle) as port:
        found = await run(Job(port=port, paths=("/",), duration_s=0.1, rate_per_s=rate_per_s))

    assert found.failures == {"503": found.answers}


async def test_a_body_is_sent_whole_and_an_answer_in_pieces_is_put_together() -> None:
    sizes = set()

    async def handle(request: web.BaseRequest) -> web.Response:
        sizes.add((request.method, len(await request.read())))
        return web.Response(body=b"x" * 300_000)

    async with serving(handle) as port:
        job = Job(port=port, paths=("/",), connections=2, duration_s=0.1, body_bytes=100_000)
        found = await run(job)

    assert sizes == {("POST", 100_000)}
    assert found.answers > 0
    assert found.failures == {}


async def test_a_broken_connection_is_a_failure() -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return await answer(request)

    async with serving(handle) as port:
        found = await run(Job(port=port, paths=("/",), connections=2, duration_s=0.1))

    assert found.failures == {"lost": 2}


async def test_headers_are_sent_with_each_request() -> None:
    seen = set()

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.add(request.headers["x-asked"])
        return await answer(request)

    async with serving(handle) as port:
        await run(Job(port=port, paths=("/",), duration_s=0.05, headers={"x-asked": "yes"}))

    assert seen == {"yes"}


async def test_one_generator_carries_out_many_jobs() -> None:
    async with serving(answer) as port, open_generator() as generator:
        job = Job(port=port, paths=("/",), connections=1, duration_s=0.05)

        found = [await generator.run(job) for _ in range(2)]

    assert all(each.answers for each in found)
