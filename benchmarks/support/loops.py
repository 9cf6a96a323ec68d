"""The two schedules of the load generator: a closed loop and an open loop.

Closed loop: every connection sends its next request when it has the answer to the last.
Open loop: requests are due at a constant rate whatever the server does, and a latency counts from
the time its request was *due*, so that a stall of the server shows in the latency of every request
that waited.
"""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from array import array
from collections import Counter, deque
from time import perf_counter_ns

from benchmarks.support.connection import Connection
from benchmarks.support.job import UNANSWERED, Job, Outcome
from benchmarks.support.latency import latencies
from benchmarks.support.ticks import ticks

NS = 1_000_000_000
OK = 200


class Loop(ABC):
    """Base of both loops: sends requests and counts their answers."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = itertools.cycle(_requests(job))
        self._times_ns = array("q")
        self._failures: Counter[str] = Counter()
        # Places of the failed requests among the times.
        self._failed: set[int] = set()
        # Begins with the first answer with status 200.
        self._window_end_ns = self._in_window = 0
        self._in_flight = 0
        self._over = asyncio.Event()

    @abstractmethod
    def answered(self, connection: Connection, status: int) -> None:
        """Record the end of a request; status 0 means that the connection broke."""

    def _send(self, connection: Connection, since_ns: int) -> None:
        self._in_flight += 1
        connection.send(next(self._requests), since_ns)

    def _count(self, status: int, now_ns: int, since_ns: int) -> None:
        if status == OK:
            if not self._window_end_ns:
                self._window_end_ns = now_ns + int(self._job.duration_s * NS)
            self._in_window += now_ns < self._window_end_ns
        else:
            self._failed.add(len(self._times_ns))
            self._failures[str(status) if status else "lost"] += 1
        self._times_ns.append(now_ns - since_ns)

    def _unanswered(self) -> int:
        return self._in_flight

    def _seconds(self) -> float:
        return self._job.duration_s

    async def _outcome(self) -> Outcome:
        try:
            async with asyncio.timeout(self._job.duration_s + self._job.grace_s):
                await self._over.wait()
        except TimeoutError:
            self._failures[UNANSWERED] = self._unanswered()
        return Outcome(
            answers=len(self._times_ns),
            seconds=self._seconds(),
            latencies=latencies(self._times_ns),
            failures=dict(self._failures),
            accepted=latencies(
                time_ns for at, time_ns in enumerate(self._times_ns) if at not in self._failed
            ),
            goodput_per_s=self._in_window / self._job.duration_s,
        )


class ClosedLoop(Loop):
    """Keeps one request in flight on every connection."""

    _begin_ns = _end_ns = 0

    async def run(self, connections: list[Connection]) -> Outcome:
        """Send requests until the time is over, and return when all are answered."""
        self._begin_ns = perf_counter_ns()
        self._end_ns = self._begin_ns + int(self._job.duration_s * NS)
        for connection in connections:
            self._send(connection, perf_counter_ns())
        return await self._outcome()

    def answered(self, connection: Connection, status: int) -> None:
        """Send the connection's next request; answers after the end do not count."""
        now_ns = perf_counter_ns()
        self._in_flight -= 1
        if now_ns < self._end_ns:
            self._count(status, now_ns, connection.since_ns)
            if len(self._times_ns) == self._job.max_answers:
                self._end_ns = now_ns
            elif status:
                self._send(connection, now_ns)
        if not self._in_flight:
            self._over.set()

    def _seconds(self) -> float:
        return (self._end_ns - self._begin_ns) / NS


class OpenLoop(Loop):
    """Sends requests at a constant rate; a request waits while no connection is idle."""

    def __init__(self, job: Job, rate_per_s: float) -> None:
        super().__init__(job)
        self._interval_ns = int(NS / rate_per_s)
        self._left = int(rate_per_s * job.duration_s)
        self._next_ns = 0
        self._idle: deque[Connection] = deque()
        self._due: deque[int] = deque()

    async def run(self, connections: list[Connection]) -> Outcome:
        """Send each request when it is due, and return when all are answered."""
        self._idle.extend(connections)
        self._next_ns = perf_counter_ns() + self._interval_ns
        with ticks(self._next_ns, self._interval_ns, self._pass):
            return await self._outcome()

    def answered(self, connection: Connection, status: int) -> None:
        """Mark the connection as idle, and send the requests that are due."""
        self._in_flight -= 1
        self._count(status, perf_counter_ns(), connection.since_ns)
        if status:
            self._idle.append(connection)
        self._send_due()

    def _unanswered(self) -> int:
        return self._in_flight + len(self._due)

    def _pass(self, ticks_passed: int) -> None:
        for _ in range(min(ticks_passed, self._left)):
            self._due.append(self._next_ns)
            self._next_ns += self._interval_ns
            self._left -= 1
        self._send_due()

    def _send_due(self) -> None:
        while self._due and self._idle:
            self._send(self._idle.pop(), self._due.popleft())
        if not (self._left or self._due or self._in_flight):
            self._over.set()


def _requests(job: Job) -> list[bytes]:
    headers = {"Host": f"127.0.0.1:{job.port}", **job.headers}
    if job.body_bytes:
        headers["Content-Length"] = str(job.body_bytes)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    method, body = ("POST" if job.body_bytes else "GET"), b"x" * job.body_bytes
    return [f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body for path in job.paths]
