"""The receiver of a subject's events, the same for pods and adapters.

nats-py runs the callbacks of one subscription in turn, so every message at once becomes a task of
its own: a handler that waits delays no other event, and A → B → A cannot deadlock. The number of
tasks is bounded. Events beyond the bound wait in fair queues, or are refused: ``event_queue``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from broker.dispatch.event_queue import EventQueue
from broker.dispatch.failures import Failures
from broker.dispatch.handler_tasks import HandlerTasks, follow
from broker.dispatch.handling import Handle, HandleStream, Handling, Reply
from broker.dispatch.pod_load import encode_load
from broker.dispatch.recent_answers import RecentAnswers
from broker.dispatch.recovery import LATE_S
from broker.dispatch.replies import Replies
from broker.dispatch.stream_answers import StreamAnswers
from broker.nats.bus import Bus
from broker.nats.held_requests import HeldRequests, decode_question, encode_held
from broker.runtime.deadlines import Deadlines
from broker.runtime.platform_clock import clock
from broker.telemetry.metrics import Metrics
from kubefox import codec, subjects
from kubefox.context import lane_of
from kubefox.errors import (
    BodyTooLarge,
    ClientGone,
    ComponentGone,
    FoxError,
    NotAuthorized,
    Overloaded,
)
from kubefox.event import Event, ResponseHead
from kubefox.refusal import Refusal
from kubefox.senders import CheckSender
from kubefox.stream import INLINE_BYTES, LEAST_INLINE_BYTES

logger = logging.getLogger(__name__)

Needed = TypeVar("Needed")


def is_never_cancelled(_event: Event) -> bool:
    """Return False: the rule of a receiver whose handlers run on without their clients."""
    return False


class Receiver:
    """Serves one subject until drained; made by ``receiving.receive``."""

    def __init__(
        self,
        bus: Bus,
        handle: Handle,
        source: str,
        max_in_flight: int,
        max_wait_s: float,
        handle_stream: HandleStream | None = None,
        on_first_event: Callable[[], None] | None = None,
        cancels: Callable[[Event], bool] = is_never_cancelled,
        responder: int = 0,
        app: str = "",
        check_sender: CheckSender | None = None,
        pod: str = "",
        *,
        is_new: bool = False,
    ) -> None:
        # Before Python 3.12, get_running_loop() makes a system call each time.
        self._loop = asyncio.get_running_loop()
        self._bus = bus
        self._handle = handle
        self._handle_stream = handle_stream
        self._source = source
        self._responder = responder
        self._replies = Replies(bus, source, responder)
        self._failures = Failures(source, self._replies, max_in_flight)
        self._queue = EventQueue(max_in_flight, max_wait_s, self._serve, self._refuse)
        self._stream_answers = StreamAnswers(
            bus,
            self._replies,
            self._queue,
            self._overload,
            source=source,
            responder=responder,
            app=app,
        )
        self._max_in_flight = max_in_flight
        self._on_first_event = on_first_event
        self._cancels = cancels
        self._check_sender = check_sender
        self._pod = pod
        # A single server loses all connections at once, and nothing waits in another one.
        self._recent = RecentAnswers(is_new=is_new) if pod and bus.is_clustered else None
        # By reply subject, and by a number where the sender waits for no reply.
        self._handlings: dict[str, Handling] = {}
        self._last_number = 0
        self._abandoned = 0
        self._deadlines = Deadlines(self._expire)

    @property
    def in_flight(self) -> int:
        """Number of events that are handled now and whose senders wait for the answer."""
        return len(self._handlings) - self._abandoned

    def make_tasks(self) -> None:
        """Make all tasks of the loop from now on, so that those of handlers take turns."""
        self._loop.set_task_factory(HandlerTasks(self._queue).make)

    def watch(self, metrics: Metrics) -> None:
        """Count the refused events in the metrics of the process from now on."""
        self._failures.watch(metrics)

    def accept(self, subject: str, frame: bytes, reply_subject: str) -> None:
        """Accept one message from the bus and return at once; a ``MessageCallback``."""
        try:
            event, body = codec.decode_event(frame)
        except FoxError as error:
            self._bus.malformed.note(subject, error)
            self._replies.send(reply_subject, self._replies.failure(error))
            return
        if self._check_sender is not None and (fault := self._check_sender(subject, event)):
            self._refuse_forged(subject, reply_subject, fault)
            return
        handlings = self._handlings
        if not handlings and self._on_first_event is not None:
            self._on_first_event()
        key = reply_subject
        if not key or key in handlings:
            self._last_number += 1
            key = f"{reply_subject}#{self._last_number}"
        handling = Handling(event, body, reply_subject, key, lane_of(event.context))
        handlings[key] = handling
        self._queue.admit(handling)

    def fail_in_flight(self) -> None:
        """Answer all events in flight as lost: this process ends before they are handled."""
        error = ComponentGone(f"the pod of {self._source} ended with the request", hop=self._source)
        failure = self._replies.failure(error)
        for key in self._handlings:
            if "#" not in key:
                self._bus.post(key, failure)

    async def wait_idle(self) -> None:
        """Return when all accepted events are handled."""
        while self._handlings:
            tasks = [handling.task for handling in self._handlings.values() if handling.task]
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)
        await self._replies.wait_sent()

    def abandon(self, _subject: str, reply_subject: bytes, asked_by: str) -> None:
        """End an event whose sender does not wait any more; a ``MessageCallback``.

        A message with a reply subject asks what is handled here instead, see ``answer_held``. Its
        place is free at once. Its handler is cancelled, or runs on if the component says so.
        """
        if asked_by:
            self._bus.post(asked_by, self._held(reply_subject, asked_by))
            return
        handling = self._handlings.get(reply_subject.decode())
        if handling is None or handling.is_abandoned:
            return
        is_cancelled = self._cancels(handling.event)
        if handling.task is None:
            if is_cancelled and self._queue.discard(handling):
                del self._handlings[handling.key]
            return
        handling.is_abandoned = True
        self._abandoned += 1
        if is_cancelled and handling.is_running:
            handling.task.cancel(ClientGone.code)
        if self._abandoned <= self._max_in_flight:
            # So many events may run on beside those with places.
            self._queue.release(handling)

    async def answer_held(self, request: bytes, reply_subject: str) -> None:
        """Answer which requests of one requester are handled here; see ``held_requests``.

        Args:
            request: The requests in question, whose answers are sent again; all if it is empty.
            reply_subject: Where to answer: only the process that it belongs to gets the answer, and
                the answer is about its requests.
        """
        await self._bus.publish(reply_subject, self._held(request, reply_subject))

    def _held(self, question: bytes, reply_subject: str) -> bytes:
        start = subjects.replies_of(reply_subject)
        asked = [reply for reply in decode_question(question) if reply.startswith(start)]
        # To a question, only as much as it asks for: then the answer fits into a message as well.
        among = asked if question else [one for one in self._handlings if one.startswith(start)]
        held = tuple(reply for reply in among if reply in self._handlings)
        if self._recent is None:
            # Its answers are not remembered: it may have answered any event.
            now_us = int(clock.now_s() * 1e6)
            return encode_held(HeldRequests(pod=self._pod, held=held, known_since_us=now_us))
        answers = self._recent.answers_to(asked)
        for reply, frame in answers.items():
            if frame:
                self._replies.send(reply, frame)
        since_us = self._recent.known_since_us
        return encode_held(
            HeldRequests(pod=self._pod, held=held, answered=tuple(answers), known_since_us=since_us)
        )

    def answer_load(self, _subject: str, request: bytes, reply_subject: str) -> None:
        """Answer how many events are handled here; a ``MessageCallback``, see ``pod_load``."""
        self._bus.post(reply_subject, encode_load(request, self.in_flight))

    async def _serve(self, handling: Handling) -> None:
        """Handle one event and send its response; a task of its own."""
        queue, reply_subject = self._queue, handling.reply_subject
        follow(handling)
        try:
            try:
                if queue.is_paced and (refusal := await queue.begin(handling)) is not None:
                    raise self._overload(handling, refusal)  # noqa: TRY301 - answered like any failure
                work = self._begin(handling)
                if work is None:
                    return
                reply = await queue.run(handling, work, self._on_wait)
                if handling.is_running:
                    self._stop_deadline(handling)
                content, streamed = reply.body, reply.stream
                if streamed is not None or (
                    len(content) > LEAST_INLINE_BYTES
                    and len(content) > (handling.event.inline_bytes or INLINE_BYTES)
                ):
                    self._remember(handling, b"")
                    await self._stream_answers.respond(handling, reply)
                    return
                head = ResponseHead(
                    status=reply.status,
                    headers=reply.headers,
                    source=self._source,
                    responder=self._responder,
                )
                response: bytes | None = codec.encode(head, content)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - an exception ends its event only
                response = self._fail(handling, error)
            if response is None or not reply_subject or handling.is_abandoned:
                return
            self._remember(handling, response)
            if not self._bus.send(reply_subject, response):
                await self._replies.respond(reply_subject, response)
        finally:
            if handling.body is not None:
                handling.body[0].close()
            self._abandoned -= handling.is_abandoned
            del self._handlings[handling.key]
            # The task's context holds the handling: without this, both would stay in memory until
            # the garbage collector runs.
            handling.task = None
            queue.end(handling)

    def _remember(self, handling: Handling, response: bytes) -> None:
        if self._recent is not None:
            self._recent.add(handling.event.method, handling.reply_subject, response)

    def _fail(self, handling: Handling, error: BaseException) -> bytes | None:
        if handling.is_running:
            self._stop_deadline(handling)
        return self._failures.of_exception(handling, error)

    def _refuse_forged(self, subject: str, reply_subject: str, fault: str) -> None:
        error = NotAuthorized(fault, hop=self._source)
        self._bus.forged.note(subject, error)
        self._replies.send(reply_subject, self._replies.failure(error))

    def _refuse(self, handling: Handling, refusal: Refusal) -> None:
        self._handlings.pop(handling.key, None)
        reply_subject = handling.reply_subject
        failure = self._failures.encode(handling, self._overload(handling, refusal))
        self._replies.send(reply_subject, failure)

    def _overload(self, handling: Handling, refusal: Refusal) -> Overloaded:
        return self._failures.overload(refusal, self._queue.retry_after_s(handling))

    def _begin(self, handling: Handling) -> Coroutine[Any, Any, Reply] | None:
        """Return the work of an event, or None if nothing waits for its answer any more."""
        event = handling.event
        if handling.is_abandoned and self._cancels(event):
            return None
        handling.begun_s = now_s = clock.now_s()
        handling.remaining_s = event.remaining_s(now_s)
        if not handling.remaining_s:
            logger.info("event %s arrived after its deadline and is dropped", event.id)
            return None
        if self._recent is not None and self._is_late(handling, now_s):
            return self._handle_if_awaited(handling)
        return self._work(handling)

    def _work(self, handling: Handling) -> Coroutine[Any, Any, Reply]:
        event = handling.event
        if event.stream:
            return self._handle_with_stream(event, handling, handling.remaining_s)
        return self._handle(event, handling.content)

    def _is_late(self, handling: Handling, now_s: float) -> bool:
        """Return whether an event may have been sent again since it was sent."""
        event = handling.event
        is_old = event.sent_us and now_s - event.sent_us * 1e-6 > LATE_S
        return bool(is_old and handling.reply_subject and event.delivery is None)

    async def _handle_if_awaited(self, handling: Handling) -> Reply:
        """Handle an event that is late, if its sender says that it waits; see ``recovery``."""
        timeout_s = handling.remaining_s
        if await self._bus.doubts.is_awaited(handling.reply_subject, timeout_s):
            return await self._work(handling)
        logger.info("event %s is late, and its sender waits no more", handling.event.id)
        handling.is_abandoned = True
        self._abandoned += 1
        return Reply()

    def _on_wait(self, handling: Handling) -> None:
        """Set the deadline of a handler that waits; one that never waits cannot be cancelled."""
        handling.is_running = True
        # 0.5 µs; asyncio.timeout() takes 7 µs.
        self._deadlines.set(handling.key, handling.remaining_s)

    def _stop_deadline(self, handling: Handling) -> None:
        handling.is_running = False
        self._deadlines.cancel(handling.key)

    async def _handle_with_stream(self, event: Event, handling: Handling, ttl_s: float) -> Reply:
        """Handle an event whose body is a stream; it stays open until the response is sent."""
        if self._handle_stream is None:
            limit = f"{self._source} accepts bodies of at most {INLINE_BYTES} bytes"
            raise BodyTooLarge(limit, hop=self._source)
        await self._stream_answers.follow_sender(event)
        incoming = self._bus.streams.open_incoming(event.stream, lane=handling.lane)
        handling.body = incoming, ttl_s
        incoming.on_gathered = partial(self._wait_for_place, handling)
        return await self._handle_stream(event, incoming)

    async def prepare(self, needed: Awaitable[Needed]) -> Needed:
        """Return what an event needs before its handler begins; called by its task.

        Then the handler begins like that of any other event: now, in its turn, or not at all.

        Raises:
            Overloaded: Its turn does not come in time.
        """
        task = asyncio.current_task()
        handling = self._handlings[task.get_name() if task else ""]
        handling.is_preparing = True
        try:
            found = await needed
            if self._queue.is_paced:
                refusal = await self._queue.begin(handling)
                if refusal is not None:
                    raise self._overload(handling, refusal)
            return found
        finally:
            handling.is_preparing = False

    async def _wait_for_place(self, handling: Handling) -> None:
        refusal = await self._queue.wait_for_place(handling)
        if refusal is not None:
            raise self._overload(handling, refusal)

    def _expire(self, key: str) -> None:
        handling = self._handlings[key]
        body = handling.body
        # A body may take any time while it makes progress; the time for the answer starts at its
        # end.
        left_s = body[0].left_s(body[1]) if body else 0
        if left_s > 0:
            self._deadlines.set(key, left_s)
            return
        handling.is_expired = True
        if handling.task is not None:
            handling.task.cancel()
