"""The cost of a platform at rest, with many component versions and a pod of each.

Wake-ups and CPU time of each role in an idle ``fox up``, and the first request of a deployment
beside a later one. Pods start one after another: 100 of them take two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import uvloop

from benchmarks.e2e.kubefox import FIRST, KubeFox, deploy_app, deploy_copies, start_fox_up, url_path
from benchmarks.e2e.lifecycle import COMPONENT, change, upload
from benchmarks.support.programs import Programs, wakeups
from fox.cli.support.kinds import DEPLOYMENTS
from kubefox.pod import PodPhase

SETTLE_S = 15.0
REQUESTS = 40


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e2e.rest", description=__doc__)
    parser.add_argument("--versions", type=int, default=100, help="component versions")
    parser.add_argument("--seconds", type=float, default=30, help="time that is measured")
    options = parser.parse_args()
    uvloop.run(measure(options.versions, options.seconds))


async def measure(versions: int, seconds: float) -> None:
    """Measure a platform with so many versions of a component."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs = Programs(folder, stack)
        kubefox = await start_fox_up(programs)
        app = await deploy_app(kubefox, programs)
        for number in range(versions - 1):
            await asyncio.to_thread(_deploy, kubefox, app, f"version-{number}")
        pods = await _ready_pods(kubefox, versions)
        await asyncio.sleep(SETTLE_S)
        await _show_rest({**kubefox.processes, f"{len(pods)} pods": pods}, seconds)
        await _show_first_requests(kubefox)


def _deploy(kubefox: KubeFox, app: Path, name: str) -> None:
    change(app, name)
    kubefox.control.put("v1", DEPLOYMENTS.path, name, body=upload(kubefox, app, name))


async def _ready_pods(kubefox: KubeFox, count: int) -> tuple[int, ...]:
    """Return the process ids of the component's pods, when so many run and all are ready."""
    while True:
        found = [pod for pod in await kubefox.pod_statuses() if pod.component == COMPONENT]
        if len(found) >= count and all(pod.phase is PodPhase.READY for pod in found):
            return tuple(pod.pid for pod in found if pod.pid)
        await asyncio.sleep(0.5)


async def _show_rest(roles: dict[str, tuple[int, ...]], seconds: float) -> None:
    begin_s = time.monotonic()
    before = {role: (wakeups(pids), _cpu_s(pids)) for role, pids in roles.items()}
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - begin_s
    for role, pids in roles.items():
        woken, cpu_s = wakeups(pids) - before[role][0], _cpu_s(pids) - before[role][1]
        share = 100 * cpu_s / took_s
        print(f"{role:<12}{woken / took_s:8.1f} wake-ups/s {share:8.2f} % of a core")


def _cpu_s(pids: tuple[int, ...]) -> float:
    """Return the CPU time of all threads of processes, in seconds: nanoseconds count here."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def _show_first_requests(kubefox: KubeFox) -> None:
    names = [f"copy-{number}" for number in range(REQUESTS)]
    await deploy_copies(kubefox, names)
    async with aiohttp.ClientSession() as session:
        for _ in range(REQUESTS):
            await _request_s(kubefox, session, FIRST)
        first = [await _request_s(kubefox, session, name) for name in names]
        later = [await _request_s(kubefox, session, name) for name in names]
    for title, times_s in (("first", first), ("later", later)):
        print(f"{title} request of a deployment: {1000 * statistics.median(times_s):.2f} ms")


async def _request_s(kubefox: KubeFox, session: aiohttp.ClientSession, deployment: str) -> float:
    url = f"http://127.0.0.1:{kubefox.http_port}{url_path(COMPONENT, deployment)}"
    begin_s = time.perf_counter()
    async with session.get(url, raise_for_status=True) as answer:
        await answer.read()
    return time.perf_counter() - begin_s


if __name__ == "__main__":
    main()
