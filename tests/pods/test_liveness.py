"""Only pods that hang are killed, and busy ones soon."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from broker.runtime.beat_file import Beat
from pods.liveness import NOT_WATCHED, Liveness, LivenessBounds

BOUND_S = 0.2
BOUNDS = LivenessBounds(alone_s=BOUND_S)


class FakePod:
    """A pod that sends a heartbeat at each check until it hangs.

    Args:
        watch: Watches it.
    """

    def __init__(self, watch: Liveness) -> None:
        self.ended = asyncio.Event()
        self.checks = asyncio.Semaphore(0)
        self.checked = 0
        self.cause = ""
        self.beats = True
        self.next_s = watch.busy_beat_s
        self.has_another = False
        self.stopped = False
        self.waits_for_cpu = False
        self._hung_at_s: float | None = None

    def last_beat(self) -> Beat | None:
        self.checks.release()
        self.checked += 1
        if not self.beats:
            return None
        return Beat(self._hung_at_s or time.monotonic(), self.next_s)

    def waited_s(self) -> float:
        return time.monotonic() if self.waits_for_cpu else 0

    def has_replica(self) -> bool:
        return self.has_another

    def is_stopped(self) -> bool:
        return self.stopped

    def hang(self) -> None:
        self._hung_at_s = time.monotonic()

    def go_on(self) -> None:
        self._hung_at_s = None

    def end_hung(self, cause: str) -> None:
        self.hung_for_s = time.monotonic() - (self._hung_at_s or 0)
        self.cause = cause
        self.ended.set()

    async def wait_checks(self, count: int) -> None:
        for _ in range(count):
            await self.checks.acquire()


@pytest.fixture
async def watch() -> Liveness:
    return Liveness(BOUNDS)


@pytest.fixture
async def pod(watch: Liveness) -> FakePod:
    return FakePod(watch)


async def test_a_pod_whose_loop_runs_is_not_killed(watch: Liveness, pod: FakePod) -> None:
    with watch.watching(pod):
        watch.on_busy(pod)
        await pod.wait_checks(4)

    assert not pod.ended.is_set()


async def test_a_busy_pod_that_hangs_is_killed_after_the_bound(
    watch: Liveness, pod: FakePod
) -> None:
    with watch.watching(pod):
        pod.hang()
        watch.on_busy(pod)
        await pod.ended.wait()

    assert pod.hung_for_s >= BOUND_S + watch.busy_beat_s
    assert "stood still for" in pod.cause


async def test_an_idle_pod_has_more_time(watch: Liveness, pod: FakePod) -> None:
    pod.next_s = watch.idle_beat_s
    with watch.watching(pod):
        pod.hang()
        watch.on_busy(pod)
        await pod.ended.wait()

    assert pod.hung_for_s >= BOUND_S + watch.idle_beat_s > BOUND_S + watch.busy_beat_s


async def test_the_bound_is_shorter_while_another_pod_serves() -> None:
    watch = Liveness(LivenessBounds(alone_s=600, with_replica_s=BOUND_S))
    pod, only_one = FakePod(watch), FakePod(watch)
    pod.has_another = True

    with watch.watching(pod), watch.watching(only_one):
        for hung in (pod, only_one):
            hung.hang()
            watch.on_busy(hung)
        await pod.ended.wait()
        await only_one.wait_checks(2)

    assert pod.hung_for_s >= BOUND_S
    assert not only_one.ended.is_set()


async def test_a_pod_is_checked_only_when_it_may_have_been_silent_for_too_long(
    watch: Liveness, pod: FakePod
) -> None:
    others = [FakePod(watch) for _ in range(20)]
    with contextlib.ExitStack() as watched:
        for other in others:
            other.next_s = 600
            watched.enter_context(watch.watching(other))
        watched.enter_context(watch.watching(pod))
        await pod.wait_checks(5)

    assert [other.checked for other in others] == [1] * len(others)


async def test_time_in_which_a_pod_waits_for_a_cpu_does_not_count(
    watch: Liveness, pod: FakePod
) -> None:
    pod.waits_for_cpu = True
    with watch.watching(pod):
        pod.hang()
        watch.on_busy(pod)
        await pod.wait_checks(4)

    assert not pod.ended.is_set()


async def test_a_pod_that_was_stopped_is_killed(watch: Liveness, pod: FakePod) -> None:
    with watch.watching(pod):
        pod.stopped = True
        watch.on_stopped(pod)
        await pod.ended.wait()

    assert "stopped by a signal" in pod.cause


async def test_a_pod_that_is_continued_soon_is_not_killed(watch: Liveness, pod: FakePod) -> None:
    with watch.watching(pod):
        watch.on_stopped(pod)
        await pod.wait_checks(2)

    assert not pod.ended.is_set()


async def test_a_hung_pod_does_not_stop_the_checks_of_others(watch: Liveness, pod: FakePod) -> None:
    other = FakePod(watch)
    with watch.watching(other), watch.watching(pod):
        pod.hang()
        await pod.ended.wait()
        await other.wait_checks(2)

    assert not other.ended.is_set()


async def test_a_pod_without_heartbeats_is_not_killed(watch: Liveness, pod: FakePod) -> None:
    pod.beats = False

    with watch.watching(pod):
        await pod.wait_checks(3)

    assert not pod.ended.is_set()


async def test_without_a_bound_no_pod_is_checked() -> None:
    watch = Liveness(NOT_WATCHED)
    pod = FakePod(watch)

    with watch.watching(pod), contextlib.suppress(TimeoutError):
        watch.on_busy(pod)
        watch.on_stopped(pod)
        await asyncio.wait_for(pod.wait_checks(1), BOUND_S)

    assert watch.busy_beat_s == 0
    assert pod.checks.locked()
    assert not pod.ended.is_set()


async def test_pods_may_send_a_heartbeat_when_the_driver_itself_did_not_run(
    watch: Liveness, pod: FakePod
) -> None:
    with watch.watching(pod):
        pod.hang()
        time.sleep(BOUND_S * 5)  # noqa: ASYNC251 - as when the whole machine was stopped
        await asyncio.sleep(0)
        pod.go_on()
        await pod.wait_checks(2)

    assert not pod.ended.is_set()
