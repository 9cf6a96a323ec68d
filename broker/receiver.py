"""The receiving end of a subject, the same for pods and adapters.

nats-py runs one subscription's callbacks in turn, so every message becomes a task of its own at
once: a handler that waits holds up nobody, and A → B → A cannot lock. The number of tasks is
bounded; an event above the bound is refused as overloaded instead of being queued unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from broker.bus import Bus
from broker.deadlines import Deadlines
from model import codec
from model.errors import (
    BodyTooLarge,
    ComponentFailed,
    DeadlineExceeded,
    FoxError,
    NatsUnavailable,
    Overloaded,
)
from model.event import Event, Headers, Response

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1000
_SERVER_ERROR = 500


class Reply(NamedTuple):
    """A handler's answer: HTTP status, headers with names in lower case, body."""

    status: int = 200
    headers: Headers = ()
    body: codec.Body = b""


Handle = Callable[[Event, codec.Body], Awaitable[Reply]]


class Receiver:
    """Serves one subject until drained; made by ``receive``."""

    def __init__(self, bus: Bus, handle: Handle, source: str, max_in_flight: int) -> None:
        """Prepare to serve; see ``receive``."""
        # Kept, because asking for it makes a system call each time, before Python 3.12.
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._handle = handle
        self._source = source
        self._max_in_flight = max_in_flight
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._last_task = 0
        self._deadlines = Deadlines(self._expire)
        self._late: set[int] = set()

    @property
    def in_flight(self) -> int:
        """How many events are being handled."""
        return len(self._tasks)

    def accept(self, _subject: str, frame: bytes, reply: str) -> None:
        """Take one message from the bus and return at once; see ``broker.bus.Taker``."""
        self._last_task = number = self._last_task + 1
        has_room = len(self._tasks) < self._max_in_flight
        serve = self._serve if has_room else self._refuse
        self._tasks[number] = self._loop.create_task(serve(frame, reply, number))

    async def wait_idle(self) -> None:
        """Return when no event is being handled."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _serve(self, frame: bytes, reply: str, number: int) -> None:
        try:
            try:
                answer = await self._answer(frame, number)
            except FoxError as error:
                self._tell_cause(error)
                answer = self._failure(error)
            except (Exception, SystemExit, KeyboardInterrupt):
                # sys.exit() in a handler too ends its event and nothing else: let through, it
                # would end the loop, and whatever else is in hand would wait for its deadline.
                logger.exception("%s failed", self._source)
                detail = f"{self._source} failed; its log tells why"
                answer = self._failure(ComponentFailed(detail, hop=self._source))
            if reply and answer is not None and not self._bus.send(reply, answer):
                await self._respond(reply, answer)
        finally:
            del self._tasks[number]

    async def _refuse(self, _frame: bytes, reply: str, number: int) -> None:
        limit = self._max_in_flight
        error = Overloaded(f"{self._source} has {limit} events in hand", hop=self._source)
        try:
            await self._respond(reply, self._failure(error))
        finally:
            del self._tasks[number]

    async def _answer(self, frame: bytes, number: int) -> bytes | None:
        event, body = codec.decode_event(frame)
        remaining_s = event.remaining_s(time.time())
        if not remaining_s:
            logger.info("event %s came after its deadline and is dropped", event.id)
            return None
        # asyncio.timeout() would do the same for 7 µs instead of 0.5.
        self._deadlines.set(number, remaining_s)
        try:
            status, headers, content = await self._handle(event, body)
        except asyncio.CancelledError as error:
            raise self._why_cancelled(number) from error
        finally:
            self._deadlines.forget(number)
            self._late.discard(number)
        head = Response(status=status, headers=headers, source=self._source)
        return codec.encode(head, content)

    def _expire(self, number: int) -> None:
        self._late.add(number)
        self._tasks[number].cancel()

    def _why_cancelled(self, number: int) -> BaseException:
        """Return what a cancellation that comes out of a handler stands for."""
        task = self._tasks[number]
        if not task.cancelling():
            return RuntimeError("the handler awaited something that was cancelled")
        if number not in self._late:
            return asyncio.CancelledError()
        task.uncancel()
        return DeadlineExceeded(f"time ran out in {self._source}", hop=self._source)

    async def _respond(self, reply: str, frame: bytes) -> None:
        if not reply:
            return
        try:
            try:
                await self._bus.publish(reply, frame)
            except BodyTooLarge as error:
                # Not what was asked is too large, but what was answered.
                failure = ComponentFailed(f"answer of {self._source}: {error}", hop=self._source)
                await self._bus.publish(reply, self._failure(failure))
        except NatsUnavailable as error:
            # The requester has been told by its own disconnect; nobody waits for this.
            logger.warning("answer of %s is dropped: %s", self._source, error)

    def _tell_cause(self, error: FoxError) -> None:
        # Only what the error itself says travels.
        if error.http_status >= _SERVER_ERROR and isinstance(error.__cause__, Exception):
            logger.warning("%s failed: %s, because of %r", self._source, error, error.__cause__)

    def _failure(self, error: FoxError) -> bytes:
        return codec.encode(Response(status=0, source=self._source, error=error.to_detail()))


@contextlib.asynccontextmanager
async def receive(
    bus: Bus,
    subject: str,
    queue: str,
    handle: Handle,
    *,
    source: str,
    max_in_flight: int = MAX_IN_FLIGHT,
) -> AsyncIterator[Receiver]:
    """Serve ``subject`` until the context ends, then drain: what was received is answered.

    ``nc.drain()`` does not wait for tasks; draining in this order loses nothing under load.

    Args:
        bus: Connection to use.
        subject: Where the events come in.
        queue: Group that shares the subject.
        handle: Makes the answer. A FoxError it raises goes to the requester as it is, any
            other exception is logged and becomes ComponentFailed. It is cancelled at the
            event's deadline.
        source: Who answers, as in ``Response.source``.
        max_in_flight: Events handled at once; more are refused as overloaded.
    """
    receiver = Receiver(bus, handle, source, max_in_flight)
    subscription = await bus.take(subject, receiver.accept, queue)
    await bus.flush()
    try:
        yield receiver
    finally:
        await bus.stop_serving(subscription)
        await receiver.wait_idle()
        await bus.flush()
