"""Calls wait as long as a busy API server asks for, and are made then."""

from __future__ import annotations

import asyncio

import pytest

from pods.kubernetes import api as api_module
from pods.kubernetes import throttle
from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.throttle import Throttle, retry_after_s
from tests.pods.kubernetes.scripted_api import scripted_api

PATH = "/api/v1/namespaces/shop/secrets/one"
LISTED = b'{"items":[],"metadata":{"resourceVersion":"1"}}'


@pytest.fixture
def asked_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long calls were to wait, in order; they wait for a hundredth of that."""
    found: list[float] = []
    hold = Throttle.hold

    def note(held: Throttle, pause_s: float) -> None:
        found.append(pause_s)
        hold(held, pause_s / 100)

    monkeypatch.setattr(throttle, "_SPREAD_S", 0)
    monkeypatch.setattr(Throttle, "hold", note)
    return found


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (429, "7", 7),
        (429, None, 1),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", 1),
        (429, "86400", 30),
        (429, "0", throttle.MIN_S),
        (503, "2", 2),
        (503, None, None),
        (500, "1", 1),
        (409, "1", None),
    ],
)
def test_the_api_says_when_a_call_may_be_repeated(
    status: int, header: str | None, expected: float | None
) -> None:
    headers = {} if header is None else {"Retry-After": header}

    assert retry_after_s(status, headers) == expected


@pytest.mark.parametrize("method", ["apply", "patch", "create", "delete", "list"])
async def test_a_call_that_comes_too_early_is_made_again(asked_s: list[float], method: str) -> None:
    async with scripted_api() as (script, api):
        script.lists = [LISTED]
        script.objects[PATH] = {"metadata": {"generation": 1}}
        script.busy = [(429, "1"), (503, "2"), (429, "")]

        await call(api, method)

        made = [kind for kind, _ in script.calls]

    assert made[:3] == ["busy"] * 3
    assert len(made) == 4
    assert asked_s == [1, 2, 1]


async def test_a_refusal_keeps_all_calls_of_the_process_waiting(asked_s: list[float]) -> None:
    async with scripted_api() as (script, api):
        script.busy = [(429, "20")]
        clock = asyncio.get_running_loop()
        began_s = clock.time()
        first = asyncio.create_task(api.apply(PATH, {}))
        while not asked_s:
            await asyncio.sleep(0)

        async def apply(number: int) -> float:
            await api.apply(f"{PATH}-{number}", {})
            return clock.time()

        ended_s = await asyncio.gather(*map(apply, range(10)))
        await first

        # A timer may be a little early.
        assert min(ended_s) - began_s >= 0.19
        assert len(script.calls) == 12


async def test_a_call_gives_up_when_the_api_stays_busy(
    asked_s: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "CALL_S", 10)
    async with scripted_api() as (script, api):
        script.busy = [(429, "30")]

        with pytest.raises(ApiError, match="too many calls") as refused:
            await api.apply(PATH, {})

    assert refused.value.is_away
    assert refused.value.retry_after_s == 30
    assert len(script.calls) == 1


async def test_a_refusal_without_that_request_is_not_repeated(asked_s: list[float]) -> None:
    async with scripted_api() as (script, api):
        script.busy = [(503, ""), (409, "1")]
        for _ in range(2):
            with pytest.raises(ApiError):
                await api.apply(PATH, {})

        assert [kind for kind, _ in script.calls] == ["busy", "busy"]
    assert not asked_s


async def call(api: Api, method: str) -> None:
    """Make one call."""
    match method:
        case "apply":
            await api.apply(PATH, {})
        case "patch":
            await api.patch(PATH, {})
        case "create":
            await api.create(PATH, {})
        case "delete":
            await api.delete(PATH)
        case _:
            await api.list("/things", {})
