"""Time limits of handlers: for requests, schedules and calls of their own."""

from __future__ import annotations

import asyncio

import pytest

from fox import Context, Kit
from fox.errors import DeadlineExceeded, InvalidRequest
from fox.testing import TestClient
from kubefox.event import NO_ROUTE, Event


def kit_of(timeout_s: float) -> Kit:
    kit = Kit()

    @kit.route("Path(`/slow`)", timeout_s=timeout_s)
    async def slow(ctx: Context) -> str:
        await asyncio.sleep(20)
        return "too late"

    @kit.route("Path(`/left`)", timeout_s=timeout_s)
    async def left(ctx: Context) -> str:
        return str(ctx.remaining_s)

    return kit


async def test_a_handler_that_exceeds_its_time_limit_is_cancelled() -> None:
    with pytest.raises(DeadlineExceeded, match=r"exceeded its time limit of 0\.01 s"):
        await TestClient(kit_of(0.01)).get("/slow")


@pytest.mark.parametrize(("timeout_s", "most_s"), [(2, 2), (10_000, 60)])
async def test_the_deadline_is_the_lower_one_of_event_and_handler(
    timeout_s: float, most_s: float
) -> None:
    response = await TestClient(kit_of(timeout_s)).get("/left")

    assert 0 < float(response.text) <= most_s


async def test_a_timeout_of_the_handlers_own_is_not_its_limit() -> None:
    kit = Kit()

    @kit.route("Path(`/`)", timeout_s=20)
    async def fail(ctx: Context) -> str:
        async with asyncio.timeout(0):
            await asyncio.sleep(20)
        return ""

    with pytest.raises(TimeoutError):
        await TestClient(kit).get("/")


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_time_limit_that_is_not_above_0_is_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidRequest, match="seconds above 0"):
        Kit().route("Path(`/`)", timeout_s=timeout_s)(handler)


def test_time_limits_are_part_of_the_definition() -> None:
    kit = Kit()
    kit.route("Path(`/`)", timeout_s=1)(handler)
    kit.route("Path(`/b`)")(handler)
    kit.schedule("@every 5s", timeout_s=2)(handler)
    kit.default(timeout_s=3)(handler)

    definition = kit.definition("web")

    assert [route.timeout_s for route in definition.routes] == [1, None]
    assert [schedule.timeout_s for schedule in definition.schedules] == [2]
    assert definition.default_timeout_s == 3
    events = [event("http", 0), event("http", 1), event("cron", 0), event("component", NO_ROUTE)]
    assert [kit.time_limit_s(handled) for handled in events] == [1, None, 2, 3]


def event(kind: str, number: int) -> Event:
    return Event(
        id="1", genesis_id="1", type=kind, context="", source="", deadline_ms=0, handler=number
    )


async def handler(ctx: Context) -> None: ...
