"""Every contestant answers as expected, and its processes are known."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import uvloop

from benchmarks.e2e.bare import BODY
from benchmarks.e2e.contestants import FLOOR, FLOOR_HOP
from benchmarks.e2e.stage import set_up
from benchmarks.support.programs import cpu_s, rss_bytes, wakeups
from benchmarks.support.rounds import check


def test_every_contestant_answers_with_the_same_bytes(tmp_path: Path) -> None:
    # A loop of its own, as a benchmark has it: the platform is started from inside.
    uvloop.run(_start_and_ask(tmp_path))


async def _start_and_ask(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        stage = await set_up(folder, stack, deployments=(1, 3), start=1)

        contestants = [*stage.contestants.values(), *stage.shared_pods, *stage.workers]
        await check(contestants, BODY)
        assert {contestant.baseline for contestant in stage.contestants.values()} <= {
            "",
            FLOOR,
            FLOOR_HOP,
        }
        assert [len(contestant.paths) for contestant in stage.shared_pods] == [1, 3]
        assert [len(contestant.processes["adapter"]) for contestant in stage.workers] == [1, 3]
        pids = {
            pid
            for contestant in contestants
            for pids in contestant.processes.values()
            for pid in pids
        }
        assert all(map(psutil.pid_exists, pids))
        assert min(cpu_s([pid]) for pid in pids) > 0
        assert min(rss_bytes([pid]) for pid in pids) > 0
        assert min(wakeups([pid]) for pid in pids) > 0
