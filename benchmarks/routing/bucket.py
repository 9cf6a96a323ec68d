"""The nats-server of the benchmark, and its KV bucket with the records of an estate."""

from __future__ import annotations

import asyncio
import os
import signal
import sysconfig
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.routing.estate import Estate
from benchmarks.support.programs import POLL_S, Programs
from broker.nats.bus import Bus
from broker.nats.jetstream import ensure_bucket
from broker.storage.records_bucket import BUCKET, HISTORY
from kubefox import records

_NATS_SERVER = Path(sysconfig.get_path("scripts"), "nats-server")
_IN_FLIGHT = 2_000
_ANY_PORT = -1


class Nats:
    """A nats-server that can be killed and started again, on the same port and the same data.

    Unlike the embedded server it does not sync every write to disk, because writing an estate
    would take minutes.

    Args:
        folder: Folder for its output and its data.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "nats"
        self._folder = folder
        self._port = _ANY_PORT
        self._pid = 0
        self._stack = AsyncExitStack()

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._pid

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"nats://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start the server and return when it accepts clients."""
        program = await Programs(self._folder, self._stack).start(
            "nats",
            *(_NATS_SERVER, "--addr", "127.0.0.1", "--port", str(self._port)),
            *("--jetstream", "--store_dir", self.data),
            ready=r"client connections on 127\.0\.0\.1:(\d+)(?s:.*)Server is ready",
        )
        self._pid, self._port = program.pid, int(program.ready_text)

    async def stop(self) -> None:
        """Stop the server."""
        await self._stack.aclose()

    async def kill(self) -> None:
        """Kill the server, as a crash would."""
        os.kill(self._pid, signal.SIGKILL)
        await self._stack.aclose()


async def preload(bus: Bus, estate: Estate) -> None:
    """Write the records of an estate into a new bucket, as fast as NATS accepts them."""
    await ensure_bucket(bus, BUCKET, history=HISTORY)
    written = 0
    for change in estate.changes():
        assert change.record is not None
        await bus.publish(f"$KV.{BUCKET}.{change.key}", records.encode(change.record))
        written += 1
        if written % _IN_FLIGHT == 0:
            await _wait_written(bus, written)
    await _wait_written(bus, written)


async def _wait_written(bus: Bus, sequence: int) -> None:
    jetstream, written = bus.jetstream(), 0
    while written < sequence:
        await asyncio.sleep(POLL_S)
        written = (await jetstream.stream_info(f"KV_{BUCKET}")).state.last_seq
