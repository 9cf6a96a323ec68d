"""The load generator, a process of its own: ``python -m benchmarks.support.load``.

For each ``Job``, one line of JSON on standard input, it writes an ``Outcome``, one line of JSON.
``open_generator`` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncIterator

import msgspec
import uvloop

from benchmarks.support.connection import Connection
from benchmarks.support.job import Job, Outcome
from benchmarks.support.loops import ClosedLoop, OpenLoop

LINE_BYTES = 8 << 20


async def run(job: Job) -> Outcome:
    """Send the requests of a job, and return when the last answer has arrived.

    Raises:
        OSError: No process listens on the port.
    """
    plan = OpenLoop(job, job.rate_per_s) if job.rate_per_s else ClosedLoop(job)
    loop = asyncio.get_running_loop()
    connections: list[Connection] = []
    try:
        for _ in range(job.connections):
            _, made = await loop.create_connection(
                lambda: Connection(plan.answered), "127.0.0.1", job.port
            )
            connections.append(made)
        return await plan.run(connections)
    finally:
        for connection in connections:
            connection.close()


class Generator:
    """A running generator; made by ``open_generator``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, job: Job) -> Outcome:
        """Return the outcome of a job; only one job may run at a time.

        Raises:
            RuntimeError: The generator died; its traceback is on standard error.
        """
        streams = self._process
        assert streams.stdin is not None
        assert streams.stdout is not None
        streams.stdin.write(msgspec.json.encode(job) + b"\n")
        line = await streams.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator died with {job}")
        return msgspec.json.decode(line, type=Outcome)


@contextlib.asynccontextmanager
async def open_generator() -> AsyncIterator[Generator]:
    """Run a generator until the context ends."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.support.load", stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    try:
        yield Generator(process)
    finally:
        process.stdin.close()
        await process.wait()


def main() -> None:
    """Run jobs until standard input ends."""
    # A garbage collection in this process would count as latency of the server.
    gc.freeze()
    gc.disable()
    while line := sys.stdin.buffer.readline(LINE_BYTES):
        outcome = uvloop.run(run(msgspec.json.decode(line, type=Job)))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
