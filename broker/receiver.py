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
from broker.pour import Streamed, deliver, once
from broker.stream import OPEN_S, Incoming
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
from model.stream import INLINE_BYTES

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 1000
_SERVER_ERROR = 500


class Reply(NamedTuple):
    """A handler's answer: HTTP status, headers with names in lower case, body.

    With ``stream`` the body is made while it is sent, and the event is in hand until that is over.
    """

    status: int = 200
    headers: Headers = ()
    body: codec.Body = b""
    stream: Streamed | None = None


Handle = Callable[[Event, codec.Body], Awaitable[Reply]]
HandleStream = Callable[[Event, Incoming], Awaitable[Reply]]


class Receiver:
    """Serves one subject until drained; made by ``receive``."""

    def __init__(
        self,
        bus: Bus,
        handle: Handle,
        source: str,
        max_in_flight: int,
        handle_stream: HandleStream | None = None,
    ) -> None:
        """Prepare to serve; see ``receive``."""
        # Kept, because asking for it makes a system call each time, before Python 3.12.
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._handle = handle
        self._handle_stream = handle_stream
        self._source = source
        self._max_in_flight = max_in_flight
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._last_task = 0
        self._deadlines = Deadlines(self._expire)
        self._late: set[int] = set()
        self._bodies: dict[int, tuple[Incoming, float]] = {}

    @property
    def in_flight(self) -> int:
        """How many events are being handled."""
        return len(self._tasks)

    def accept(self, _subject: str, frame: bytes, reply: str) -> None:
        """Take one message from the bus and return at once; see ``broker.bus.Taker``."""
        if len(self._tasks) >= self._max_in_flight:
            self._refuse(reply)
            return
        self._last_task = number = self._last_task + 1
        self._tasks[number] = self._loop.create_task(self._serve(frame, reply, number))

    async def wait_idle(self) -> None:
        """Return when no event is being handled."""
        while self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _serve(self, frame: bytes, reply: str, number: int) -> None:
        try:
            try:
                answer = await self._answer(frame, reply, number)
            except FoxError as error:
                self._tell_cause(error)
                answer = self._failure(error)
            except GeneratorExit:
                raise
            except BaseException:
                # Whatever it is, it ends its event and nothing else. sys.exit() would end the
                # loop, and with all else a requester would wait for its deadline.
                logger.exception("%s failed", self._source)
                detail = f"{self._source} failed; its log tells why"
                answer = self._failure(ComponentFailed(detail, hop=self._source))
            if reply and answer is not None and not self._bus.send(reply, answer):
                await self._respond(reply, answer)
        finally:
            if self._bodies:
                self._close_body(number)
            del self._tasks[number]

    def _refuse(self, reply: str) -> None:
        limit = self._max_in_flight
        error = Overloaded(f"{self._source} has {limit} events in hand", hop=self._source)
        if reply and not self._bus.send(reply, self._failure(error)):
            # To wait for room would be to take it in all the same.
            logger.warning("%s could not say that it is overloaded", self._source)

    async def _answer(self, frame: bytes, reply: str, number: int) -> bytes | None:
        event, body = codec.decode_event(frame)
        remaining_s = event.remaining_s(time.time())
        if not remaining_s:
            logger.info("event %s came after its deadline and is dropped", event.id)
            return None
        # asyncio.timeout() would do the same for 7 µs instead of 0.5.
        self._deadlines.set(number, remaining_s)
        try:
            if event.stream:
                answer = await self._receive_body(event, number, remaining_s)
            else:
                answer = await self._handle(event, body)
        except asyncio.CancelledError as error:
            raise self._why_cancelled(number) from error
        finally:
            self._deadlines.forget(number)
            self._late.discard(number)
        status, headers, content, streamed = answer
        if streamed is not None or len(content) > INLINE_BYTES:
            await self._answer_in_parts(reply, answer, event.id)
            return None
        head = Response(status=status, headers=headers, source=self._source)
        return codec.encode(head, content)

    async def _receive_body(self, event: Event, number: int, ttl_s: float) -> Reply:
        """Let a body that comes as a stream be handled; it is open until the answer is sent."""
        if self._handle_stream is None:
            told = f"{self._source} takes bodies of at most {INLINE_BYTES} bytes"
            raise BodyTooLarge(told, hop=self._source)
        incoming = self._bus.streams.receive(event.stream)
        self._bodies[number] = incoming, ttl_s
        return await self._handle_stream(event, incoming)

    def _close_body(self, number: int) -> None:
        body = self._bodies.pop(number, None)
        if body is not None:
            body[0].close()

    async def _answer_in_parts(self, reply: str, answer: Reply, event_id: str) -> None:
        """Answer with a head, and let the body follow; the deadline was that of the head."""
        body = answer.stream or Streamed(once(answer.body))
        if not reply:
            await body.close()
            return
        outgoing = self._bus.streams.send(open_s=OPEN_S)
        try:
            head = Response(
                status=answer.status,
                headers=answer.headers,
                source=self._source,
                stream=outgoing.subject,
            )
            frame = codec.encode(head)
        except BaseException as error:
            outgoing.drop()
            await body.close(error)
            raise
        await self._respond(reply, frame)
        await deliver(body, outgoing, self._source, event_id)

    def _expire(self, number: int) -> None:
        body = self._bodies.get(number)
        # A body may take as long as it makes progress; the time for the answer begins after it.
        left_s = body[0].left_s(body[1]) if body else 0
        if left_s > 0:
            self._deadlines.set(number, left_s)
            return
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
    handle_stream: HandleStream | None = None,
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
        handle_stream: Makes the answer to an event whose body comes as a stream; without it these
            are refused as too large.
    """
    receiver = Receiver(bus, handle, source, max_in_flight, handle_stream)
    subscription = await bus.take(subject, receiver.accept, queue)
    await bus.flush()
    try:
        yield receiver
    finally:
        await bus.stop_serving(subscription)
        await receiver.wait_idle()
        await bus.flush()
