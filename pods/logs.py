"""Pods' output: the latest lines of each pod in memory, to be read and followed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path

from broker.runtime.background import run_in_background
from broker.storage.pod_logs import LogQuery
from kubefox.pod import LogLine
from pods.base import PodSpec
from pods.log_files import LogFiles
from pods.log_source import DRAIN_BYTES, LineReader, LogSource, line_bytes

LINES_PER_POD = 1000
MAX_PODS = 200


class PodLogs:
    """The output of all pods, a ``broker.storage.pod_logs.PodLogReader``; see ``open_logs``.

    Memory is bounded. Lines of pods that have ended stay as well, so that a crash can be examined.
    A driver whose pods keep their output elsewhere has it read from there: see ``read_from``.

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
        self._source: LogSource | None = None

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
                if reader.is_done:
                    return
                await reader.wait()
        finally:
            reader.close()

    def open_reader(self, query: LogQuery) -> LineReader:
        """Return a reader that has the tail, and gets new lines until it is closed."""
        if self._source is not None:
            return self._source.open_reader(query)
        tail = self._tail(query)
        reader = LogReader(query, tail, self._lines_per_pod, self._readers.discard)
        if query.follow:
            self._readers.add(reader)
        return reader

    @contextlib.contextmanager
    def read_from(self, source: LogSource) -> Iterator[None]:
        """Read the output of the pods from ``source`` while the context lasts."""
        self._source = source
        try:
            yield
        finally:
            self._source = None

    def _tail(self, query: LogQuery) -> list[LogLine]:
        rings = [ring for ring in self._rings.values() if ring and query.matches_pod(ring[0])]
        latest = [line for ring in rings for line in _last(ring, query)]
        return sorted(latest, key=lambda line: line.at_s)


class LogReader:
    """The lines that wait for one reader, a ``pods.log_source.LineReader``.

    Args:
        query: Selects new lines.
        tail: The lines that are there already.
        max_lines: Number of new lines that may wait; the oldest of them are dropped.
        forget: Called with this when it gets no more lines.
    """

    def __init__(
        self,
        query: LogQuery,
        tail: list[LogLine],
        max_lines: int,
        forget: Callable[[LogReader], None],
    ) -> None:
        self._query = query
        self._forget = forget
        self._tail = deque(tail)
        self._lines: deque[LogLine] = deque(maxlen=max_lines)
        self._offered = asyncio.Event()
        if tail:
            self._offered.set()

    @property
    def is_done(self) -> bool:
        """Whether no line waits, and none will come."""
        return self._is_empty and not self._query.follow

    @property
    def _is_empty(self) -> bool:
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
            size += line_bytes(drained[-1].line)
        if self._is_empty:
            self._offered.clear()
        return tuple(drained)

    async def wait(self) -> None:
        """Return when a line waits."""
        await self._offered.wait()

    def close(self) -> None:
        """Get no more lines."""
        self._forget(self)


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
