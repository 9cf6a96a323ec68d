"""Pods' output: the latest lines of each pod in memory, to show and to follow."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import islice
from pathlib import Path

from broker.background import running
from broker.pod_logs import LogQuery
from model.pod import LogLine
from pods.base import PodSpec
from pods.log_files import LogFiles

LINES_PER_POD = 1000
MAX_PODS = 200


class PodLogs:
    """All pods' output; made by ``open_logs``. It is the ``broker.pod_logs.PodLogs`` of a driver.

    Memory is bounded: ``LINES_PER_POD`` for each of the ``MAX_PODS`` that wrote last, gone
    ones included, so that a crash can be looked at.
    """

    def __init__(self, files: LogFiles) -> None:
        """Start with no lines; see ``open_logs``."""
        self._files = files
        self._rings: dict[str, deque[LogLine]] = {}
        self._readers: set[_Reader] = set()

    def write(self, spec: PodSpec, texts: list[str]) -> None:
        """Take lines of a pod; never blocks."""
        now_s = time.time()
        lines = [_line(spec, text, now_s) for text in texts]
        # Put at the end: so the first ring is of the pod that has been silent longest.
        ring = self._rings.pop(spec.id, None) or deque(maxlen=LINES_PER_POD)
        self._rings[spec.id] = ring
        ring.extend(lines)
        if len(self._rings) > MAX_PODS:
            del self._rings[next(iter(self._rings))]
        for reader in self._readers:
            reader.offer(lines)
        self._files.append(spec.id, texts)

    async def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the latest lines of each pod in order of time, then new ones if it follows.

        A reader that follows and is ``LINES_PER_POD`` behind misses the oldest of them.
        """
        reader = _Reader(query)
        self._readers.add(reader)
        try:
            for line in self._tail(query):
                yield line
            while query.follow:
                async for line in reader.take():
                    yield line
        finally:
            self._readers.discard(reader)

    def _tail(self, query: LogQuery) -> list[LogLine]:
        rings = [ring for ring in self._rings.values() if ring and query.wants_pod(ring[0])]
        latest = [line for ring in rings for line in _last(ring, query)]
        return sorted(latest, key=lambda line: line.at_s)


class _Reader:
    """One reader and the lines that wait for it."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._lines: deque[LogLine] = deque(maxlen=LINES_PER_POD)
        self._offered = asyncio.Event()

    def offer(self, lines: list[LogLine]) -> None:
        if wanted := [line for line in lines if self._query.wants(line)]:
            self._lines.extend(wanted)
            self._offered.set()

    async def take(self) -> AsyncIterator[LogLine]:
        await self._offered.wait()
        self._offered.clear()
        while self._lines:
            yield self._lines.popleft()


@contextlib.asynccontextmanager
async def open_logs(folder: Path) -> AsyncIterator[PodLogs]:
    """Collect pods' output until the context ends; what it holds then is in the files.

    Args:
        folder: Where each pod has its file; made if it is missing.
    """
    files = LogFiles(folder)
    try:
        async with running(files.run(), "writing pods' output"):
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
    wanted = (line for line in reversed(ring) if query.wants(line))
    return list(islice(wanted, query.tail))[::-1]
