"""HTTP clients that send a limited load, and record how each request ends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import NamedTuple

HOST = "127.0.0.1"
PATH = "/"
RATE_PER_S = 150
# A slow machine gets fewer requests per second, instead of more than it can answer.
MAX_IN_FLIGHT = 50
TIMEOUT_S = 120
OK = "200"
REFUSED = "refused"
LOST = "lost"

_Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ended(NamedTuple):
    """A request that has ended.

    Attributes:
        started_s: When it was sent, as the event loop's time.
        result: Its status; ``refused`` without a connection, ``lost`` without a whole response.
    """

    started_s: float
    result: str


class HttpLoad:
    """Sends requests at ``RATE_PER_S``, ``MAX_IN_FLIGHT`` at once at most; made by ``http_load``.

    Args:
        port: On loopback.
        keeps_alive: Whether connections are used again, each until its response says
            ``Connection: close``; else each request has a new one.
        tls: Of ``https``; None for plain HTTP.

    Attributes:
        ended: All requests that have ended.
    """

    def __init__(self, port: int, *, keeps_alive: bool, tls: ssl.SSLContext | None = None) -> None:
        self._port, self._tls = port, tls
        self._keeps_alive = keeps_alive
        # The connection that has been idle for the longest time is used next.
        self._idle: deque[_Connected] = deque()
        self._is_stopped = False
        self._free = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.ended: list[Ended] = []

    @property
    def results(self) -> Counter[str]:
        """Number of requests by their result."""
        return Counter(request.result for request in self.ended)

    @property
    def failed(self) -> list[Ended]:
        """The requests that had another result than 200."""
        return [request for request in self.ended if request.result != OK]

    async def wait_ended(self, count: int) -> None:
        """Wait until ``count`` more requests have ended."""
        target = len(self.ended) + count
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.ended) < target:
                await asyncio.sleep(0.005)

    def stop(self) -> None:
        """Send no more requests."""
        self._is_stopped = True

    async def send(self) -> None:
        """Send requests until ``stop`` is called, and wait for their responses."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        async with asyncio.TaskGroup() as requests:
            while not self._is_stopped:
                await self._free.acquire()
                requests.create_task(self._record())
                due_s = max(due_s + 1 / RATE_PER_S, loop.time())
                await asyncio.sleep(due_s - loop.time())
        for _, writer in self._idle:
            writer.close()

    async def _record(self) -> None:
        started_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                result = await self._send()
        except ConnectionRefusedError:
            result = REFUSED
        except (OSError, EOFError):
            result = LOST
        except TimeoutError:
            result = "unanswered"
        self._free.release()
        self.ended.append(Ended(started_s, result))

    async def _send(self) -> str:
        reader, writer = await self._connection()
        keeps = False
        try:
            wish = "keep-alive" if self._keeps_alive else "close"
            head = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nConnection: {wish}\r\n\r\n"
            writer.write(head.encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
            await reader.readexactly(length)
            keeps = "connection: close" not in answer
        finally:
            if keeps:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return answer.split()[1]

    async def _connection(self) -> _Connected:
        while self._idle:
            reader, writer = self._idle.popleft()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(HOST, self._port, ssl=self._tls)


@contextlib.asynccontextmanager
async def http_load(
    port: int, *, keeps_alive: bool, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HttpLoad]:
    """Send requests while the context lasts; at its end, all of them have ended."""
    load = HttpLoad(port, keeps_alive=keeps_alive, tls=tls)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(load.send())
        try:
            yield load
        finally:
            load.stop()
            await sending
