"""The subject of a pod runner: control reads logs from it, and others see that it is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import assert_never

import msgspec

from broker.dispatch.pod_runners import (
    WAIT_S,
    CollectGarbage,
    LogBatch,
    Ping,
    ReadLogs,
    RunnerRequest,
    decode_request,
)
from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.errors import InvalidEvent, NatsUnavailable
from pods.log_source import LineReader
from pods.logs import PodLogs

logger = logging.getLogger(__name__)

FORGET_S = 3 * WAIT_S
"""A reader that has asked for nothing for so long is gone."""

FETCH_S = 1.0
"""How long a request for lines may wait until they are fetched; the next one waits on."""

CollectFiles = Callable[[], Awaitable[None]]
"""Removes the stored files of unused versions."""

_encode = msgspec.msgpack.Encoder().encode


class RunnerServer:
    """Answers the requests to one pod runner; made by ``serve_runner``.

    Args:
        bus: Connection to use.
        logs: Output of the pods.
        collect_files: Removes the stored files of unused versions.
    """

    def __init__(self, bus: Bus, logs: PodLogs, collect_files: CollectFiles) -> None:
        self._bus = bus
        self._logs = logs
        self._collect_files = collect_files
        self._readers: dict[str, LineReader] = {}
        self._forgetting: dict[str, asyncio.TimerHandle] = {}
        self._answering: set[asyncio.Task[None]] = set()

    def accept(self, _subject: str, payload: bytes, reply: str) -> None:
        """Answer a request in a task of its own: a reader may wait for lines.

        Raises:
            DECODE_ERRORS: See ``kubefox.decoding``.
            InvalidEvent: The request has no reply subject.
        """
        if not reply:
            raise InvalidEvent("the request has no reply subject")
        task = asyncio.create_task(self._answer(decode_request(payload), reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def close(self) -> None:
        """Stop answering."""
        for task in self._answering:
            task.cancel()
        for reader in tuple(self._readers):
            self._forget(reader)

    async def _answer(self, request: RunnerRequest, reply: str) -> None:
        try:
            answer = await self._carry_out(request)
            with contextlib.suppress(NatsUnavailable):
                await self._bus.publish(reply, _encode(answer))
        except Exception:
            logger.exception("a request to the pod runner could not be answered")

    async def _carry_out(self, request: RunnerRequest) -> LogBatch | None:
        match request:
            case Ping():
                return None
            case CollectGarbage():
                await self._collect_files()
                return None
            case ReadLogs():
                return await self._next_lines(request)
            case _:
                assert_never(request)

    async def _next_lines(self, request: ReadLogs) -> LogBatch:
        reader = self._reader(request)
        # One that does not follow may have to fetch its lines first.
        wait_s = request.wait_s if request.query.follow else FETCH_S
        if wait_s and not reader.is_done:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await reader.wait()
        lines, is_end = reader.drain(), reader.is_done
        if is_end:
            self._forget(request.reader)
        return LogBatch(lines=lines, is_end=is_end)

    def _reader(self, request: ReadLogs) -> LineReader:
        """Return the reader of a request; keep it for ``FORGET_S`` more."""
        name = request.reader
        reader = self._readers.get(name)
        if reader is None:
            reader = self._readers[name] = self._logs.open_reader(request.query)
        else:
            self._forgetting[name].cancel()
        loop = asyncio.get_running_loop()
        self._forgetting[name] = loop.call_later(FORGET_S, self._forget, name)
        return reader

    def _forget(self, name: str) -> None:
        self._readers.pop(name).close()
        self._forgetting.pop(name).cancel()


@contextlib.asynccontextmanager
async def serve_runner(
    bus: Bus, name: str, logs: PodLogs, collect_files: CollectFiles
) -> AsyncIterator[None]:
    """Answer the requests to pod runner ``name`` until the context ends."""
    server = RunnerServer(bus, logs, collect_files)
    subscription = await bus.serve_fast_path(subjects.runner(name), server.accept)
    await bus.flush()
    try:
        yield
    finally:
        server.close()
        await bus.stop_serving(subscription)
