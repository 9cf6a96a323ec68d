"""Pods whose event loop stands still are ended, and no others."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from pods import liveness
from pods.liveness import Liveness

BOUND_S = 0.2


class Pod:
    """Its loop runs until it hangs; it tells so whenever somebody looks."""

    def __init__(self, *, beats: bool = True) -> None:
        self.ended = asyncio.Event()
        self.seen = asyncio.Semaphore(0)
        self.hung_at_s: float | None = None if beats else time.monotonic()
        self._beats = beats

    def last_beat_s(self) -> float | None:
        self.seen.release()
        if not self._beats:
            return None
        return self.hung_at_s or time.monotonic()

    def hang(self) -> None:
        self.hung_at_s = time.monotonic()

    def end_hung(self, still_s: float) -> None:
        self.still_s = still_s
        self.ended.set()

    async def wait_looks(self, count: int) -> None:
        for _ in range(count):
            await self.seen.acquire()


@pytest.fixture
async def pod() -> Pod:
    return Pod()


async def test_a_pod_whose_loop_runs_is_left_alone(pod: Pod) -> None:
    with Liveness(BOUND_S).watching(pod):
        await pod.wait_looks(3)

    assert not pod.ended.is_set()


async def test_a_pod_that_hangs_is_ended_after_the_bound(pod: Pod) -> None:
    watch = Liveness(BOUND_S)
    with watch.watching(pod):
        pod.hang()
        await pod.ended.wait()

    assert BOUND_S + watch.beat_s <= pod.still_s < BOUND_S + 2 * watch.beat_s + 1


async def test_a_pod_that_hangs_does_not_hold_up_the_others(pod: Pod) -> None:
    other = Pod()
    watch = Liveness(BOUND_S)
    with watch.watching(other), watch.watching(pod):
        pod.hang()
        await pod.ended.wait()
        await other.wait_looks(2)

    assert not other.ended.is_set()


async def test_a_pod_that_never_says_that_it_runs_is_left_alone() -> None:
    silent = Pod(beats=False)

    with Liveness(BOUND_S).watching(silent):
        await silent.wait_looks(3)

    assert not silent.ended.is_set()


async def test_without_a_bound_nobody_looks(pod: Pod) -> None:
    watch = Liveness(0)

    with watch.watching(pod), contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pod.wait_looks(1), BOUND_S)

    assert watch.beat_s == 0
    assert pod.seen.locked()


async def test_pods_get_a_moment_when_the_driver_itself_did_not_run(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "_LATE_S", 0.1)
    with Liveness(BOUND_S).watching(pod):
        pod.hang()
        time.sleep(BOUND_S * 3)  # noqa: ASYNC251 - as when the whole machine was stopped
        await asyncio.sleep(0)
        pod.hung_at_s = None
        await pod.wait_looks(2)

    assert not pod.ended.is_set()
