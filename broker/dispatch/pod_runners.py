"""Requests to pod runners: what control needs from the processes that run pods.

Pods are run by processes of their own, on this machine or on others (``pods.reconciler``). Control
finds them on the pod board and sends requests to the subject of each: it reads the output of pods
and has the files of unused versions removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from broker.dispatch.seen_lines import SeenLines
from broker.nats.bus import Bus
from broker.runtime.ids import new_id
from broker.storage.pod_board import PodBoard
from broker.storage.pod_logs import LogQuery
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, FoxError, NatsUnavailable, NoPodReady
from kubefox.pod import LogLine

logger = logging.getLogger(__name__)

WAIT_S = 5.0
"""How long a runner waits for the next line before it answers without one."""
ANSWER_S = 3.0
_RETRY_S = 1.0
_MAX_WAITING_LINES = 1000


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Ask whether a runner is there."""


class CollectGarbage(msgspec.Struct, frozen=True, tag="collect-garbage"):
    """Ask a runner to remove the files of the versions that its snapshot does not need."""


class ReadLogs(msgspec.Struct, frozen=True, kw_only=True, tag="read-logs"):
    """Ask for the next lines of pods' output.

    Attributes:
        reader: Id of the reader; its first request begins with the tail.
        query: Selects lines.
        wait_s: How long to wait for a line.
    """

    reader: str
    query: LogQuery
    wait_s: float = 0


RunnerRequest = Ping | CollectGarbage | ReadLogs


class LogBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The next lines for a reader.

    Attributes:
        lines: Lines in order of time; may be empty while the reader follows.
        is_end: Whether no line follows.
    """

    lines: tuple[LogLine, ...] = ()
    is_end: bool = False


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(RunnerRequest).decode
_decode_batch = msgspec.msgpack.Decoder(LogBatch).decode

_Lines = asyncio.Queue[LogLine]


class _Reader:
    """The reader of one client at one runner."""

    def __init__(self) -> None:
        self.id = new_id()
        self.seen = SeenLines()


class PodRunners:
    """All pod runners, as control uses them; a ``broker.storage.pod_logs.PodLogReader``.

    Args:
        bus: Connection to use.
        board: Names the runners.
    """

    def __init__(self, bus: Bus, board: PodBoard) -> None:
        self._bus = bus
        self._board = board

    async def collect_garbage(self, _used_hashes: frozenset[str]) -> None:
        """Have all runners remove the stored files of unused versions; log those that fail.

        A runner compares with its own snapshot and its own pods. The file of a version that is
        needed again is fetched again.
        """
        names = [runner.name for runner in self._board.runners]
        await asyncio.gather(*(self._collect_garbage(name) for name in names))

    async def _collect_garbage(self, runner: str) -> None:
        try:
            await self._bus.request(subjects.runner(runner), encode(CollectGarbage()), ANSWER_S)
        except FoxError as error:
            logger.warning("pod runner %s did not remove its unused files: %s", runner, error)

    async def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the lines that match, of all runners; see ``PodLogReader.read``.

        The tail is in order of time. Later lines come as they arrive, also of runners that start
        later. A runner that does not answer is left out.
        """
        readers = {runner.name: _Reader() for runner in self._board.runners}
        batches = await asyncio.gather(
            *(self._tail(name, reader, query) for name, reader in readers.items())
        )
        for line in sorted((line for batch in batches for line in batch), key=_time):
            yield line
        if query.follow:
            lines: _Lines = asyncio.Queue(_MAX_WAITING_LINES)
            following = asyncio.create_task(self._follow(readers, query, lines))
            try:
                while True:
                    yield await lines.get()
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _tail(self, runner: str, reader: _Reader, query: LogQuery) -> list[LogLine]:
        """Return the latest lines of a runner: all of them, or a first part if more follow."""
        lines: list[LogLine] = []
        with contextlib.suppress(DeadlineExceeded, NoPodReady, NatsUnavailable, *DECODE_ERRORS):
            async for batch in self._batches(runner, ReadLogs(reader=reader.id, query=query)):
                lines += filter(reader.seen.take, batch)
                if query.follow:
                    break
        return lines

    async def _follow(self, readers: dict[str, _Reader], query: LogQuery, lines: _Lines) -> None:
        """Put the new lines of all runners, also of those that start later, into ``lines``."""
        async with asyncio.TaskGroup() as group:
            changes = -1
            following: set[str] = set()
            while True:
                changes = await self._board.wait_change(changes)
                for name in {runner.name for runner in self._board.runners} - following:
                    reader = readers.get(name) or _Reader()
                    group.create_task(self._follow_one(name, reader, query, lines))
                    following.add(name)

    async def _follow_one(
        self, runner: str, reader: _Reader, query: LogQuery, lines: _Lines
    ) -> None:
        request = ReadLogs(reader=reader.id, query=query, wait_s=WAIT_S)
        while True:
            try:
                async for batch in self._batches(runner, request):
                    for line in filter(reader.seen.take, batch):
                        await lines.put(line)
            except (DeadlineExceeded, NoPodReady, NatsUnavailable, *DECODE_ERRORS):
                # It restarts, or it has ended: then its name does not come back. In a cluster
                # another process has its name, and all lines, but does not know this reader.
                await asyncio.sleep(_RETRY_S)
                rest = reader.seen.rest(query)
                request = ReadLogs(reader=new_id(), query=rest, wait_s=WAIT_S)

    async def _batches(self, runner: str, request: ReadLogs) -> AsyncIterator[tuple[LogLine, ...]]:
        payload = encode(request)
        while True:
            timeout_s = request.wait_s + ANSWER_S
            answer = await self._bus.request(subjects.runner(runner), payload, timeout_s)
            batch = _decode_batch(answer)
            yield batch.lines
            if batch.is_end:
                return


def _time(line: LogLine) -> float:
    return line.at_s
