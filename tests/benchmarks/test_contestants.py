"""Every contestant does the work it is measured at, with its processes known."""

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
        stage = await set_up(folder, stack, deployments=(1, 3), turn=1)

        everyone = [*stage.everyone.values(), *stage.estates, *stage.workers]
        await check(everyone, BODY)
        assert {each.baseline for each in stage.everyone.values()} <= {"", FLOOR, FLOOR_HOP}
        assert [len(each.paths) for each in stage.estates] == [1, 3]
        assert [len(each.processes["adapter"]) for each in stage.workers] == [1, 3]
        pids = {pid for each in everyone for pids in each.processes.values() for pid in pids}
        assert all(map(psutil.pid_exists, pids))
        assert min(cpu_s([pid]) for pid in pids) > 0
        assert min(rss_bytes([pid]) for pid in pids) > 0
        assert min(wakeups([pid]) for pid in pids) > 0
