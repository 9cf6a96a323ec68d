"""Compare a platform with NATS credentials to one on a NATS that lets anybody in.

``python -m benchmarks.credentials [--rounds N]``: requests over both in alternating rounds, and the
time of a connection to both servers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.e2e.bare import BODY
from benchmarks.e2e.contestants import contestant
from benchmarks.e2e.kubefox import FIRST, KubeFox, deploy_app, start_separately, url_path
from benchmarks.routing.bucket import Nats
from benchmarks.support.job import Job
from benchmarks.support.load import open_generator
from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Contestant, Result, alternate, check, results
from broker.nats import bus as buses

WITHOUT, WITH = "without credentials", "with credentials"
ROUNDS = 60
CONNECTS = 200
LOADS = (("direct", 32), ("hop", 32), ("direct", 1))
ROUND_S = 0.5


async def measure(rounds: int) -> None:
    """Print the results."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kubefox-bench-")))
        platforms = {
            WITHOUT: await _start(folder / "without", stack, secured=False),
            WITH: await _start(folder / "with", stack, secured=True),
        }
        sender = await stack.enter_async_context(open_generator())
        for path, connections in LOADS:
            both = [await _contestant(name, platforms[name], path) for name in (WITHOUT, WITH)]
            await check(both, BODY)
            load = Job(port=0, paths=(), connections=connections, duration_s=ROUND_S)
            found = results(both, await alternate(sender, both, load, rounds))
            _print(f"{path}, {connections} connections, {rounds} rounds", found)
        await _print_connects({name: platforms[name].nats for name in platforms})


async def _start(folder: Path, stack: AsyncExitStack, *, secured: bool) -> KubeFox:
    folder.mkdir()
    programs, address = Programs(folder, stack), None
    if not secured:
        nats = Nats(folder)
        await nats.start()
        stack.push_async_callback(nats.stop)
        address = NatsAddress(url=nats.url)
    kubefox = await start_separately(programs, nats=address)
    await deploy_app(kubefox, programs)
    if not secured:
        kubefox.processes["NATS"] = (nats.pid,)
    return kubefox


async def _contestant(name: str, kubefox: KubeFox, path: str) -> Contestant:
    names = ("direct",) if path == "direct" else ("front", "back")
    pods = await kubefox.pods(*names)
    return contestant(
        name,
        kubefox,
        tuple(pid for found in pods.values() for pid in found),
        url_path(path, FIRST),
        baseline=WITHOUT,
    )


def _print(title: str, found: list[Result]) -> None:
    for result in found:
        ratio = result.rate_ratio.median if result.rate_ratio else 1
        sys.stdout.write(
            f"{title}: {result.name}: {result.rate_per_s.median:,.0f} requests/s, "
            f"p50 {result.p50_us.median:.0f} µs, ratio of the rates {ratio:.3f}, "
            f"CPU in µs: {', '.join(f'{role} {us:g}' for role, us in result.cpu_us.items())}\n"
        )


async def _print_connects(addresses: dict[str, NatsAddress]) -> None:
    times: dict[str, list[float]] = {name: [] for name in addresses}
    for number in range(CONNECTS):
        for name, address in addresses.items():
            login = await address.login(f"client-{number}")
            begin_s = time.perf_counter()
            async with buses.connect(
                login.url, process_id=login.process_id, credentials=login.credentials
            ):
                times[name].append(time.perf_counter() - begin_s)
    for name, found in times.items():
        sys.stdout.write(
            f"connect {name}: median {median(found) * 1e3:.2f} ms, lowest {min(found) * 1e3:.2f}\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.credentials", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    uvloop.run(measure(parser.parse_args().rounds))
