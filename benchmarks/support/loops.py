"""When the load generator sends: a closed loop and an open one.

Closed loop: every connection sends its next request when it has the answer to the last.
Open loop: requests are due at a constant rate whatever the server does, and a latency counts from
when its request was *due*, so a server that stalls is charged for all that had to wait.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from array import array
from collections import Counter, deque
from time import perf_counter_ns

from benchmarks.support.connection import Connection
from benchmarks.support.job import Job, Outcome
from benchmarks.support.latency import latencies
from benchmarks.support.ticks import ticks

NS = 1_000_000_000
GRACE_S = 5.0
"""How long answers may come after the end of a run."""
OK = 200


class Loop(ABC):
    """What both have in common: sending, and counting what comes back."""

    def __init__(self, job: Job) -> None:
        """Prepare the requests."""
        self._job = job
        self._requests = itertools.cycle(_requests(job))
        self._times_ns = array("q")
        self._failures: Counter[str] = Counter()
        self._under_way = 0
        self._over = asyncio.Event()

    @abstractmethod
    def answered(self, connection: Connection, status: int) -> None:
        """Hear of the end of a request; status 0 is a connection that broke."""

    def _send(self, connection: Connection, since_ns: int) -> None:
        self._under_way += 1
        connection.send(next(self._requests), since_ns)

    def _count(self, status: int, time_ns: int) -> None:
        self._times_ns.append(time_ns)
        if status != OK:
            self._failures[str(status) if status else "lost"] += 1

    def _unanswered(self) -> int:
        return self._under_way

    async def _outcome(self) -> Outcome:
        try:
            async with asyncio.timeout(self._job.duration_s + GRACE_S):
                await self._over.wait()
        except TimeoutError:
            self._failures["unanswered"] = self._unanswered()
        return Outcome(
            answers=len(self._times_ns),
            seconds=self._job.duration_s,
            latencies=latencies(self._times_ns),
            failures=dict(self._failures),
        )


class ClosedLoop(Loop):
    """As many requests under way as there are connections."""

    _end_ns = 0

    async def carry_out(self, connections: list[Connection]) -> Outcome:
        """Send it all, and return when all is answered."""
        self._end_ns = perf_counter_ns() + int(self._job.duration_s * NS)
        for each in connections:
            self._send(each, perf_counter_ns())
        return await self._outcome()

    def answered(self, connection: Connection, status: int) -> None:
        """Send the connection's next request; what comes after the end does not count."""
        now_ns = perf_counter_ns()
        self._under_way -= 1
        if now_ns < self._end_ns:
            self._count(status, now_ns - connection.since_ns)
            if status:
                self._send(connection, now_ns)
        if not self._under_way:
            self._over.set()


class OpenLoop(Loop):
    """A request every so often, on whatever connection is idle; without one, it waits."""

    def __init__(self, job: Job, rate_per_s: float) -> None:
        """Prepare for ``rate_per_s`` times the duration of requests."""
        super().__init__(job)
        self._interval_ns = int(NS / rate_per_s)
        self._left = int(rate_per_s * job.duration_s)
        self._next_ns = 0
        self._idle: deque[Connection] = deque()
        self._due: deque[int] = deque()

    async def carry_out(self, connections: list[Connection]) -> Outcome:
        """Send it all, and return when all is answered."""
        self._idle.extend(connections)
        self._next_ns = perf_counter_ns() + self._interval_ns
        with ticks(self._next_ns, self._interval_ns, self._pass):
            return await self._outcome()

    def answered(self, connection: Connection, status: int) -> None:
        """Take the connection back, and send what was due meanwhile."""
        self._under_way -= 1
        self._count(status, perf_counter_ns() - connection.since_ns)
        if status:
            self._idle.append(connection)
        self._send_due()

    def _unanswered(self) -> int:
        return self._under_way + len(self._due)

    def _pass(self, ticks_passed: int) -> None:
        for _ in range(min(ticks_passed, self._left)):
            self._due.append(self._next_ns)
            self._next_ns += self._interval_ns
            self._left -= 1
        self._send_due()

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._send(self._idle.pop(), self._due.popleft())
        if not (self._left or self._due or self._under_way):
            self._over.set()


def _requests(job: Job) -> list[bytes]:
    headers = {"Host": f"127.0.0.1:{job.port}", **job.headers}
    if job.body_bytes:
        headers["Content-Length"] = str(job.body_bytes)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    method, body = ("POST" if job.body_bytes else "GET"), b"x" * job.body_bytes
    return [f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body for path in job.paths]
