"""Pods' output: the latest lines of each pod in memory, to be read and followed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import islice
from pathlib import Path

from broker.runtime.background import run_in_background
from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine
from pods.base import PodSpec
from pods.log_files import LogFiles

LINES_PER_POD = 1000
DRAIN_BYTES = 256 << 10
MAX_PODS = 200


class PodLogs:
    """The output of all pods, a ``broker.storage.pod_logs.PodLogReader``; see ``open_logs``.

    Memory is bounded. Lines of pods that have ended stay as well, so that a crash can be examined.

    Args:
        files: Stores the lines on disk.
        lines_per_pod: Lines to keep of each pod.
        max_pods: Pods to keep lines of: those that wrote last.
    """

    def __init__(
        self, files: LogFiles, *, lines_per_pod: int = LINES_PER_POD, max_pods: int = MAX_PODS
    ) -> None:
        self._files = files
        self._lines_per_pod = lines_per_pod
        self._max_pods = max_pods
        self._rings: dict[str, deque[LogLine]] = {}
        self._readers: set[LogReader] = set()

    def write(self, spec: PodSpec, texts: list[str]) -> None:
        """Store lines of a pod; never blocks."""
        now_s = time.time()
        lines = [_line(spec, text, now_s) for text in texts]
        # Insert at the end: the first ring belongs to the pod that has been silent longest.
        ring = self._rings.pop(spec.id, None) or deque(maxlen=self._lines_per_pod)
        self._rings[spec.id] = ring
        ring.extend(lines)
        if len(self._rings) > self._max_pods:
            del self._rings[next(iter(self._rings))]
        for reader in self._readers:
            reader.offer(lines)
        self._files.append(spec.id, texts)

    async def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the latest lines of each pod in order of time, then new ones if it follows.

        A reader that follows and is ``lines_per_pod`` behind misses the oldest of them.
        """
        reader = self.open_reader(query)
        try:
            while True:
                for line in reader.drain():
                    yield line
                if reader.is_empty and not query.follow:
                    return
                await reader.wait()
        finally:
            self.close_reader(reader)

    def open_reader(self, query: LogQuery) -> LogReader:
        """Return a reader that has the tail and gets new lines until ``close_reader``."""
        reader = LogReader(query, self._tail(query), self._lines_per_pod)
        if query.follow:
            self._readers.add(reader)
        return reader

    def close_reader(self, reader: LogReader) -> None:
        """Give a reader no more lines."""
        self._readers.discard(reader)

    def _tail(self, query: LogQuery) -> list[LogLine]:
        rings = [ring for ring in self._rings.values() if ring and query.matches_pod(ring[0])]
        latest = [line for ring in rings for line in _last(ring, query)]
        return sorted(latest, key=lambda line: line.at_s)


class LogReader:
    """The lines that wait for one reader.

    Args:
        query: Selects new lines.
        tail: The lines that are there already.
        max_lines: Number of new lines that may wait; the oldest of them are dropped.
    """

    def __init__(self, query: LogQuery, tail: list[LogLine], max_lines: int) -> None:
        self._query = query
        self._tail = deque(tail)
        self._lines: deque[LogLine] = deque(maxlen=max_lines)
        self._offered = asyncio.Event()
        if tail:
            self._offered.set()

    @property
    def is_empty(self) -> bool:
        """Whether no line waits."""
        return not self._tail and not self._lines

    def offer(self, lines: list[LogLine]) -> None:
        """Add those new lines that the query selects."""
        if wanted := [line for line in lines if self._query.matches(line)]:
            self._lines.extend(wanted)
            self._offered.set()

    def drain(self, max_bytes: int = DRAIN_BYTES) -> tuple[LogLine, ...]:
        """Return and remove the next lines, of about ``max_bytes`` together."""
        drained: list[LogLine] = []
        size = 0
        while size < max_bytes and (waiting := self._tail or self._lines):
            drained.append(waiting.popleft())
            size += len(drained[-1].line)
        if self.is_empty:
            self._offered.clear()
        return tuple(drained)

    async def wait(self) -> None:
        """Return when a line waits."""
        await self._offered.wait()


@contextlib.asynccontextmanager
async def open_logs(folder: Path) -> AsyncIterator[PodLogs]:
    """Collect pods' output until the context ends; all of it is in the files then.

    Args:
        folder: Contains a file for each pod; created if it is missing.
    """
    files = LogFiles(folder)
    try:
        async with run_in_background(files.run(), "writing pods' output"):
            yield PodLogs(files)
    finally:
        await files.flush()


def _line(spec: PodSpec, text: str, at_s: float) -> LogLine:
    return LogLine(
        pod=spec.id,
        app=spec.app,
        component=spec.component,
        hash=spec.hash,
        line=text,
        at_s=at_s,
    )


def _last(ring: deque[LogLine], query: LogQuery) -> list[LogLine]:
    wanted = (line for line in reversed(ring) if query.matches(line))
    return list(islice(wanted, query.tail))[::-1]
