"""The flood, a process of its own: ``python -m benchmarks.overload.flooder JOB``.

It writes ``flooding`` when every connection has sent its first request. When its standard input
ends, it writes the number of its answers by status as JSON, and ends. ``flooding`` runs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import uvloop

from benchmarks.overload.flood_job import FloodJob, Manner

PAUSE_S = 0.5
"""Time after a refusal, so that a flood is not a flood of refusals."""
READY = b"flooding\n"
HOST = "127.0.0.1"
_HEAD_END = b"\r\n\r\n"
_ENDS = (OSError, EOFError, asyncio.IncompleteReadError)


class Flooder:
    """Sends a flood until it is cancelled.

    Args:
        job: The flood.

    Attributes:
        statuses: Number of answers by status; of connections that were opened again, as ``left``,
            and of those that the server ended, as ``lost``.
        all_sent: Set when every connection has sent its first request.
    """

    def __init__(self, job: FloodJob) -> None:
        self._job = job
        self._request = job.request.encode() + bytes(job.body_bytes)
        self._left_to_send = job.connections
        self.statuses: Counter[str] = Counter()
        self.all_sent = asyncio.Event()

    async def run(self) -> None:
        """Flood until the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._job.connections):
                group.create_task(self._keep_flooding())

    async def _keep_flooding(self) -> None:
        is_first = True
        while True:
            with contextlib.suppress(*_ENDS):
                reader, writer = await asyncio.open_connection(HOST, self._job.port)
                try:
                    await self._flood(reader, writer, is_first=is_first)
                finally:
                    is_first = False
                    writer.close()
                continue
            self.statuses["lost"] += 1
            await asyncio.sleep(PAUSE_S)

    async def _flood(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_first: bool
    ) -> None:
        job = self._job
        writer.write(self._request)
        await writer.drain()
        if is_first:
            self._left_to_send -= 1
            if not self._left_to_send:
                self.all_sent.set()
        match job.manner:
            case Manner.REPEAT:
                await self._repeat(reader, writer)
            case Manner.HOLD:
                await self._hold(reader)
            case Manner.LEAVE:
                await asyncio.sleep(job.stay_s)
                self.statuses["left"] += 1

    async def _repeat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            status = await read_answer(reader)
            self.statuses[status] += 1
            if status != "200":
                await asyncio.sleep(PAUSE_S)
            writer.write(self._request)
            await writer.drain()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(_HEAD_END)
        self.statuses[status_of(head)] += 1
        while await reader.read(1 << 16):
            pass


async def read_answer(reader: asyncio.StreamReader) -> str:
    """Read an answer with a content-length, and return its status."""
    head = await reader.readuntil(_HEAD_END)
    lines = head.decode("latin-1").lower()
    await reader.readexactly(int(lines.partition("content-length:")[2].partition("\r\n")[0]))
    return status_of(head)


def status_of(head: bytes) -> str:
    """Return the status in the head of an answer."""
    return head.split(b" ", 2)[1][:3].decode()


@contextlib.asynccontextmanager
async def flooding(job: FloodJob) -> AsyncIterator[Counter[str]]:
    """Flood until the context ends; the yielded counts are filled then.

    Raises:
        RuntimeError: The flooder died; its traceback is on standard error.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.overload.flooder", msgspec.json.encode(job).decode()),
        stdin=pipe,
        stdout=pipe,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    statuses: Counter[str] = Counter()
    try:
        if await process.stdout.readline() != READY:
            raise RuntimeError(f"the flooder died with {job}")
        yield statuses
    finally:
        process.stdin.close()
        found = await process.stdout.readline()
        await process.wait()
    statuses.update(msgspec.json.decode(found, type=dict[str, int]))


async def _main(job: FloodJob) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 16)), hard))
    flooder = Flooder(job)
    flood = asyncio.create_task(flooder.run())
    await flooder.all_sent.wait()
    _write(READY)
    await asyncio.to_thread(sys.stdin.buffer.read)
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    _write(msgspec.json.encode(flooder.statuses) + b"\n")


def _write(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(sys.argv[1], type=FloodJob)))
