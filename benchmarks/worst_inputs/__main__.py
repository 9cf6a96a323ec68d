"""How long do the most expensive inputs make other requests wait? Prints a table.

``python -m benchmarks.worst_inputs``

``fox up`` runs all parts of the platform in one event loop, so an input that holds any part holds
every request. A probe sends a request every few milliseconds, by turns with and without the inputs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import uvloop

from benchmarks.e2e.kubefox import deploy_app, start_fox_up
from benchmarks.support.latency import Latencies, latencies
from benchmarks.support.programs import Programs
from benchmarks.worst_inputs.inputs import Input, inputs, make_contexts

APP = Path(__file__).with_name("app")
ROUNDS = 4
ROUND_S = 1.5
PAUSE_S = 0.002
SEND_PAUSE_S = 0.02
_PROBE = b"GET /answer HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def main() -> None:
    """Measure every input, and print one line for each."""
    with TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            programs = Programs(Path(folder), stack)
            kubefox = await start_fox_up(programs)
            await deploy_app(kubefox, programs, APP)
            await asyncio.to_thread(make_contexts, kubefox)
            control_port = urlsplit(kubefox.control_url).port or 0
            print(
                f"{'latency of other requests, ms':52} {'p50':>13} {'p99':>13} {'longest':>13} sent"
            )
            for found in inputs(kubefox, control_port):
                await _measure(found, kubefox.http_port)


async def _measure(measured: Input, probe_port: int) -> None:
    """Print the latencies without and with one input."""
    quiet: list[int] = []
    busy: list[int] = []
    sent: list[int] = []
    rounds = 1 if measured.sent_once else ROUNDS
    for _ in range(rounds):
        quiet += await _probe(probe_port, ROUND_S)
        async with _sending(measured, sent):
            busy += await _probe(probe_port, ROUND_S)
    before, after = latencies(quiet), latencies(busy)
    shown = [_pair(before, after, name) for name in ("p50_us", "p99_us", "max_us")]
    statuses = ", ".join(f"{sent.count(status)} × {status}" for status in sorted(set(sent)))
    print(f"{measured.name:52} {' '.join(shown)} {statuses}")


def _pair(before: Latencies, after: Latencies, name: str) -> str:
    return f"{getattr(before, name) / 1e3:5.1f} → {getattr(after, name) / 1e3:5.1f}"


async def _probe(port: int, for_s: float) -> list[int]:
    """Return the latencies of requests, in nanoseconds."""
    times_ns, end_s = [], time.monotonic() + for_s
    async with _connected(port) as (reader, writer):
        while time.monotonic() < end_s:
            begin_ns = time.perf_counter_ns()
            writer.write(_PROBE)
            assert await _read_status(reader) == 200
            times_ns.append(time.perf_counter_ns() - begin_ns)
            await asyncio.sleep(PAUSE_S)
    return times_ns


@contextlib.asynccontextmanager
async def _sending(measured: Input, statuses: list[int]) -> AsyncIterator[None]:
    """Send the input until the context ends, each request when the one before is answered."""

    async def send() -> None:
        async with _connected(measured.port) as (reader, writer):
            while True:
                for request in measured.requests:
                    writer.write(request)
                    statuses.append(await _read_status(reader))
                    await asyncio.sleep(SEND_PAUSE_S)
                if measured.sent_once:
                    return

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending


@contextlib.asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _read_status(reader: asyncio.StreamReader) -> int:
    """Read a response, and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = head.partition("\r\ncontent-length: ")[2].partition("\r\n")[0]
    await reader.readexactly(int(length))
    return int(head[9:12])


if __name__ == "__main__":
    uvloop.run(main())
