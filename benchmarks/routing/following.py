"""A process that follows the bucket and reports each change of its snapshot as a JSON line.

``python -m benchmarks.routing.following NATS_URL``, until its standard input ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from time import perf_counter, perf_counter_ns, process_time

import msgspec
import psutil
import uvloop

from broker.nats import bus as buses
from broker.storage.store import Store, open_store
from tests.support.keys import KEYS

_TICK_S = 0.001


class Loaded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The whole bucket was read.

    Attributes:
        seconds: Time since the connection was opened.
        cpu_s: CPU time of this process in that time.
        longest_hold_ms: Longest time for which the event loop was blocked.
        rss_mib: Memory of the process.
        rss_before_mib: Memory of the process before.
    """

    seconds: float
    cpu_s: float
    longest_hold_ms: float
    rss_mib: float
    rss_before_mib: float


class Seen(msgspec.Struct, frozen=True, tag=True):
    """The snapshot holds a revision, since ``at_ns`` on the monotonic clock."""

    revision: int
    at_ns: int


class CurrentAgain(msgspec.Struct, frozen=True, tag=True):
    """The snapshot is current again, since ``at_ns`` on the monotonic clock."""

    at_ns: int


FollowerEvent = Loaded | Seen | CurrentAgain


def _report(event: FollowerEvent) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def _rss_mib() -> float:
    return round(psutil.Process().memory_info().rss / (1 << 20), 1)


class _Holds:
    """Records the longest time for which the event loop was blocked."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        while True:
            before = perf_counter()
            await asyncio.sleep(_TICK_S)
            self.longest_s = max(self.longest_s, perf_counter() - before - _TICK_S)


async def _report_changes(store: Store) -> None:
    revision = store.snapshot.revision
    while True:
        revision = (await store.wait_change(revision)).revision
        _report(Seen(revision, perf_counter_ns()))


async def _report_current(store: Store) -> None:
    was_current = True
    while True:
        if store.is_current and not was_current:
            _report(CurrentAgain(perf_counter_ns()))
        was_current = store.is_current
        await asyncio.sleep(_TICK_S)


async def follow(url: str) -> None:
    """Follow the bucket until standard input ends."""
    holds = _Holds()
    before_mib = _rss_mib()
    async with asyncio.TaskGroup() as group, buses.connect(url, process_id="follower") as bus:
        watch = group.create_task(holds.watch())
        start, start_cpu_s = perf_counter(), process_time()
        async with open_store(bus, KEYS, creates_keys=True) as store:
            seconds, cpu_s = perf_counter() - start, process_time() - start_cpu_s
            watch.cancel()
            _report(
                Loaded(
                    seconds=round(seconds, 3),
                    cpu_s=round(cpu_s, 3),
                    longest_hold_ms=round(holds.longest_s * 1e3, 1),
                    rss_mib=_rss_mib(),
                    rss_before_mib=before_mib,
                )
            )
            tasks = [
                group.create_task(_report_changes(store)),
                group.create_task(_report_current(store)),
            ]
            await asyncio.to_thread(sys.stdin.buffer.read)
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    logging.disable()
    uvloop.run(follow(sys.argv[1]))
