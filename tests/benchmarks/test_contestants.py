"""Every contestant does the work it is measured at, with its processes known."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import uvloop

from benchmarks.e2e.bare import BODY
from benchmarks.e2e.contestants import FLOOR, FLOOR_HOP, start_everyone
from benchmarks.e2e.kubefox import deploy_app, start_apart
from benchmarks.support.programs import Programs, cpu_s, rss_bytes, wakeups
from benchmarks.support.rounds import check


def test_every_contestant_answers_with_the_same_bytes(tmp_path: Path) -> None:
    # A loop of its own, as a benchmark has it: the platform is started from inside.
    uvloop.run(_start_and_ask(tmp_path))


async def _start_and_ask(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        kubefox = await start_apart(programs)
        await deploy_app(kubefox, programs)

        everyone = await start_everyone(programs, kubefox)

        await check(everyone, BODY)
        assert {each.baseline for each in everyone} <= {"", FLOOR, FLOOR_HOP}
        pids = {pid for each in everyone for pids in each.processes.values() for pid in pids}
        assert all(map(psutil.pid_exists, pids))
        assert min(cpu_s([pid]) for pid in pids) > 0
        assert min(rss_bytes([pid]) for pid in pids) > 0
        assert min(wakeups([pid]) for pid in pids) > 0
