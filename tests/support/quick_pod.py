"""A pod that answers its events at once, and whose event loop can be blocked."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future

import uvloop

from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from kubefox import codec, subjects
from kubefox.event import Event
from tests.support.waiting_pod import API


class QuickPod:
    """A pod in a thread of its own, whose event loop the test can block.

    Attributes:
        handled: Ids of the events that it has handled.
    """

    def __init__(self) -> None:
        self.handled: list[str] = []
        self._is_free = threading.Event()
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def handle(self, event: Event, _body: codec.Body) -> Reply:
        self.handled.append(event.id)
        return Reply(body=b"done")

    async def block(self) -> None:
        """Block the loop until ``unblock`` is called."""
        loop, _ = await asyncio.wrap_future(self._started)
        is_blocked = threading.Event()

        def block() -> None:
            is_blocked.set()
            self._is_free.wait()

        loop.call_soon_threadsafe(block)
        await asyncio.to_thread(is_blocked.wait)

    def unblock(self) -> None:
        """Let the loop go on."""
        self._is_free.set()

    @contextlib.asynccontextmanager
    async def running(self, url: str, name: str) -> AsyncIterator[None]:
        """Serve the component version."""
        thread = asyncio.create_task(asyncio.to_thread(self._run, url, name))
        _, stop_event = started = await asyncio.wrap_future(self._started)
        try:
            yield
        finally:
            self.unblock()
            started[0].call_soon_threadsafe(stop_event.set)
            await thread

    def _run(self, url: str, name: str) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(url, name))

    async def _serve(self, url: str, name: str) -> None:
        stopped = asyncio.Event()
        process_id = subjects.pod_process_id(name, "1")
        async with (
            buses.connect(url, process_id=process_id) as bus,
            receive(bus, API, "pods", self.handle, source="api@1", pod=name),
        ):
            self._started.set_result((asyncio.get_running_loop(), stopped))
            await stopped.wait()
