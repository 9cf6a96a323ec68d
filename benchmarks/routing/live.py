"""What crosses processes, at one size: ``python -m benchmarks.routing.live N RELEASES``."""

from __future__ import annotations

import asyncio
import logging
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter_ns

import aiohttp
import msgspec
import uvloop

from benchmarks.routing import propagation
from benchmarks.routing.bucket import Nats, preload
from benchmarks.routing.estate import Estate
from benchmarks.routing.following import CurrentAgain, Loaded, Said, Seen
from benchmarks.routing.timing import Latency, latency
from benchmarks.support.programs import Programs
from broker import bus as buses
from broker.bus import Bus
from broker.store import BUCKET
from fox.data_dir import read_info
from fox.nats_server import run_nats_server
from model import records
from model.records import Change

FOX = Path(sysconfig.get_path("scripts"), "fox")
UPDATES = 100


class LiveResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured at one size.

    Attributes:
        deployments: The size.
        loaded: A process opens the store: KV → ready to route.
        updates: From the begin of a KV write to another process's snapshot holding it.
        recovered_s: From NATS taking clients again after a kill to the snapshot being current.
        propagation: From a release's answer to the first answer that it routed, by router.
    """

    deployments: int
    loaded: Loaded
    updates: dict[str, Latency]
    recovered_s: float
    propagation: dict[str, Latency]


class Follower:
    """The process of ``benchmarks.routing.following``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Wrap its process."""
        self._process = process

    async def next(self) -> Said:
        """Return the next that it says."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the follower died")
        said: Said = msgspec.json.decode(line, type=Said)
        return said

    async def wait_revision(self, revision: int) -> int:
        """Return when it saw a revision, by the machine's monotonic clock."""
        while True:
            said = await self.next()
            if isinstance(said, Seen) and said.revision >= revision:
                return said.at_ns

    async def wait_current(self) -> int:
        """Return when it was current again."""
        while not isinstance(said := await self.next(), CurrentAgain):
            pass
        return said.at_ns


async def measure(size: int, releases: int) -> LiveResult:
    """Return everything about one size."""
    estate = Estate(size)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as name:
        nats = Nats(Path(name))
        await nats.start()
        async with (
            buses.connect(nats.url, process_id="benchmark") as bus,
            AsyncExitStack() as stack,
        ):
            await preload(bus, estate)
            follower = await _start_follower(nats.url, stack)
            loaded = await follower.next()
            assert isinstance(loaded, Loaded)
            updates = {
                name: await _updates(bus, follower, make) for name, make in _changes(estate).items()
            }
            recovered_s = await _recover(nats, follower)
        await nats.stop()
        times = await _propagate(Path(name), nats.data, releases)
    return LiveResult(
        deployments=size,
        loaded=loaded,
        updates=updates,
        recovered_s=recovered_s,
        propagation={name: latency(found) for name, found in times.items()},
    )


async def _start_follower(url: str, stack: AsyncExitStack) -> Follower:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.routing.following", url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )

    async def stop() -> None:
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()

    stack.push_async_callback(stop)
    return Follower(process)


def _changes(estate: Estate) -> dict[str, Callable[[int], Change]]:
    return {
        "new deployment": lambda turn: estate.deployment(estate.size + turn),
        "release of all apps": estate.release,
        "virtual environment, used value": lambda turn: estate.virtual_environment(
            turn, f"moved-{turn}"
        ),
    }


async def _updates(bus: Bus, follower: Follower, make: Callable[[int], Change]) -> Latency:
    bucket = await bus.jetstream().key_value(BUCKET)
    times = []
    for turn in range(UPDATES):
        change = make(turn)
        assert change.record is not None
        value = records.encode(change.record)
        start_ns = perf_counter_ns()
        revision = await bucket.put(change.key, value)
        times.append(await follower.wait_revision(revision) - start_ns)
    return latency(times)


async def _recover(nats: Nats, follower: Follower) -> float:
    await nats.kill()
    await nats.start()
    ready_ns = perf_counter_ns()
    return round((await follower.wait_current() - ready_ns) / 1e9, 3)


async def _propagate(folder: Path, data: Path, releases: int) -> dict[str, list[int]]:
    async with AsyncExitStack() as stack:
        programs = Programs(folder, stack)
        nats = await stack.enter_async_context(run_nats_server(data))
        bus = await stack.enter_async_context(buses.connect(nats.url, process_id="stand-in"))
        await propagation.stand_in(bus, stack)
        environ = {
            "FOX_NATS_URL": nats.url,
            "FOX_DATA_DIR": str(folder / "platform"),
            "FOX_HTTP_PORT": "0",
            "FOX_CONTROL_PORT": "0",
        }
        requests = r"requests +(http\S+)"
        up = await programs.start("up", FOX, "up", ready=requests, environ=environ)
        http = await programs.start("http", FOX, "serve", "http", ready=requests, environ=environ)
        info = read_info(folder / "platform")
        assert info is not None
        session = await stack.enter_async_context(aiohttp.ClientSession(info.control_url))
        await propagation.deploy(session)
        routers = {"the process with control": up.said, "another process": http.said}
        return await propagation.propagate(session, routers, releases)


if __name__ == "__main__":
    logging.disable()
    found = uvloop.run(measure(int(sys.argv[1]), int(sys.argv[2])))
    sys.stdout.buffer.write(msgspec.json.encode(found))
