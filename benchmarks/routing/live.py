"""Measurements across processes at one size: ``python -m benchmarks.routing.live N RELEASES``."""

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
from benchmarks.routing.following import CurrentAgain, FollowerEvent, Loaded, Seen
from benchmarks.routing.timing import Latency, latency
from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import Programs
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.storage.records_bucket import BUCKET
from examples.demo.platform import credentials
from fox.data_dir import read_info
from fox.nats_server import run_nats_server
from kubefox import records
from kubefox.records import Change

FOX = Path(sysconfig.get_path("scripts"), "fox")
UPDATES = 100


class LiveResult(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one size.

    Attributes:
        deployments: The size.
        loaded: Opening the store in a process: from KV to ready to route.
        updates: Time from the begin of a KV write until another process's snapshot holds it.
        recovered_s: Time from the restart of a killed NATS until the snapshot is current.
        propagation: Time from the answer to a release until it routes a request, by router.
    """

    deployments: int
    loaded: Loaded
    updates: dict[str, Latency]
    recovered_s: float
    propagation: dict[str, Latency]


class Follower:
    """The process of ``benchmarks.routing.following``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self) -> FollowerEvent:
        """Return the next event that it reports."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the follower died")
        event: FollowerEvent = msgspec.json.decode(line, type=FollowerEvent)
        return event

    async def wait_revision(self, revision: int) -> int:
        """Return the time on the monotonic clock at which its snapshot held a revision."""
        while True:
            event = await self.next()
            if isinstance(event, Seen) and event.revision >= revision:
                return event.at_ns

    async def wait_current(self) -> int:
        """Return the time at which its snapshot was current again."""
        while not isinstance(event := await self.next(), CurrentAgain):
            pass
        return event.at_ns


async def measure(size: int, releases: int) -> LiveResult:
    """Measure one size and return the results."""
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
        "new deployment": lambda number: estate.deployment(estate.size + number),
        "release of all apps": estate.release,
        "virtual environment, used value": lambda number: estate.virtual_environment(
            number, f"moved-{number}"
        ),
    }


async def _updates(bus: Bus, follower: Follower, make: Callable[[int], Change]) -> Latency:
    bucket = await bus.jetstream().key_value(BUCKET)
    times = []
    for number in range(UPDATES):
        change = make(number)
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
        address = NatsAddress(url=nats.url, credentials=str(nats.account_key_file))
        bus = await stack.enter_async_context(address.connect("pod"))
        await propagation.serve_pod(bus, stack)
        environ = {
            **address.environ,
            "FOX_DATA_DIR": str(folder / "platform"),
            "FOX_HTTP_PORT": "0",
            "FOX_CONTROL_PORT": "0",
        }
        requests = r"requests +(http\S+)"
        await programs.start(
            "control", FOX, "serve", "control", ready=r"control +(http\S+)", environ=environ
        )
        one, other = [
            await programs.start(name, FOX, "serve", "http", ready=requests, environ=environ)
            for name in ("http-1", "http-2")
        ]
        info = read_info(folder / "platform")
        assert info is not None
        session = await stack.enter_async_context(
            aiohttp.ClientSession(info.control_url, headers=credentials(folder / "platform"))
        )
        await propagation.deploy(session)
        routers = {"one process": one.ready_text, "another process": other.ready_text}
        return await propagation.propagate(session, routers, releases)


if __name__ == "__main__":
    logging.disable()
    found = uvloop.run(measure(int(sys.argv[1]), int(sys.argv[2])))
    sys.stdout.buffer.write(msgspec.json.encode(found))
