"""Delivery of stored events: all delivering processes share one durable consumer.

A pull requests many events at once and waits half a minute, so an idle process sends a request
twice a minute. The events that it brings are started in fair turns, see ``fair_queue``. While a
process has an event, it sends JetStream a progress message every few seconds. Without one in the
consumer's ack wait, JetStream delivers the event to another process. The pulls of nats-py cost 29
µs a message instead of 10, and wait for the whole batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import NamedTuple

import msgspec
from nats.js import api
from nats.js.errors import NotFoundError

from broker.events.fair_queue import FairQueue
from broker.events.outbox import MAX_EVENT_BYTES, STREAM, ensure_outbox
from broker.events.stored_event import StoredEvent, stored_event
from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors
from broker.runtime.background import run_in_background
from broker.runtime.cooperative import TimeSlice
from kubefox import subjects
from kubefox.errors import FoxError, NatsUnavailable

logger = logging.getLogger(__name__)

CONSUMER = "deliver"
INBOX = "emit"
"""Purpose of the inbox that gets the events."""
MAX_IN_FLIGHT = 256
"""Events of one lane that a process delivers at the same time; all lanes have twice as many."""
MAX_HELD = 1_024
"""Events of one lane that wait in a process; all lanes have twice as many."""
MAX_BYTES = 64 << 20
"""Size of the events of one lane in a process; those of all lanes have twice as much."""
POSTPONED_PER_S = 500.0
"""Events that a process puts back in a second, to find those of other lanes behind them."""
ACK_WAIT_S = 10.0
"""Time after which JetStream delivers an event again that was neither settled nor in progress."""
PROGRESS_PER_ACK_WAIT = 3
"""Progress messages that are sent for an event within the ack wait."""

# Events that wait for another attempt, for a pod or for their time count too. With a small limit,
# those of one component would block the events of all others. The stream holds fewer than this.
_MAX_ACK_PENDING = 1_000_000
_EARLIER_MAX_ACK_PENDING = 10_000
# JetStream sends no answer to a pull if the consumer is removed at the same time: the pull is
# repeated after this time.
_BATCH = 256
# Large enough for any event.
_BATCH_BYTES = 16 * MAX_EVENT_BYTES
_PULL_S = 30.0
_PULL_GRACE_S = 5.0
_RETRY_S = 1.0
_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}"

ACK = b"+ACK"
"""Settles an event as handled: JetStream removes it."""
_IN_PROGRESS = b"+WPI"

_encode = msgspec.json.Encoder().encode


Deliver = Callable[[StoredEvent], Awaitable[bytes]]
"""Delivers an event and returns its settlement: ``ACK`` or ``nak(…)``."""
Postpone = Callable[[StoredEvent, float | None], Awaitable[bytes]]
"""Returns the settlement of an event that was not delivered, because its lane had no room. The
second argument is the delay in seconds; None leaves it to the callee."""
LaneOf = Callable[[bytes], str]
"""Returns the lane of an event's frame: its deployment and virtual environment."""


class _Received(NamedTuple):
    """An event that has not been settled, and what its settlement needs."""

    event: StoredEvent
    reply: str
    lane: str

    @property
    def size_bytes(self) -> int:
        return len(self.event.frame)


def nak(delay_s: float) -> bytes:
    """Return the settlement after which JetStream delivers an event again, ``delay_s`` later."""
    return b"-NAK " + _encode({"delay": int(delay_s * 1e9)})


class DeliveryLimits(NamedTuple):
    """The limits of the deliveries of one process.

    Attributes:
        max_in_flight: Events of one lane that are delivered at the same time.
        max_held: Events of one lane that wait for that.
        ack_wait_s: Ack wait of the consumer, if this process creates it.
    """

    max_in_flight: int = MAX_IN_FLIGHT
    max_held: int = MAX_HELD
    ack_wait_s: float = ACK_WAIT_S


class Deliveries:
    """The events that one process delivers; created by ``open_deliveries``."""

    def __init__(
        self,
        bus: Bus,
        deliver: Deliver,
        postpone: Postpone,
        lane_of: LaneOf,
        limits: DeliveryLimits,
    ) -> None:
        self._bus = bus
        self._deliver, self._postpone, self._lane_of = deliver, postpone, lane_of
        self._ack_wait_s = limits.ack_wait_s
        self._queue: FairQueue[_Received] = FairQueue(
            limits.max_in_flight, limits.max_held, MAX_BYTES
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._pull_ended = asyncio.Event()
        self._has_ended = asyncio.Event()
        self._crowded_lane: str | None = None
        self._is_draining = False
        self._pulls = 0
        self._expected = 0

    @property
    def in_flight(self) -> int:
        """Number of events that are being delivered."""
        return self._queue.started.taken

    async def run(self) -> None:
        """Pull events until cancelled."""
        while True:
            try:
                await self._pull()
            except FoxError as error:
                logger.warning("pull of events failed, retrying in %g s: %s", _RETRY_S, error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                logger.exception("pull of events failed, retrying in %g s", _RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def report_progress(self) -> None:
        """Keep the events that wait here, until cancelled."""
        while True:
            await asyncio.sleep(self._ack_wait_s / PROGRESS_PER_ACK_WAIT)
            time_slice = TimeSlice()
            for waiting in tuple(self._queue):
                await self._send(waiting.reply, _IN_PROGRESS)
                await time_slice.checkpoint()

    def on_message(self, subject: str, frame: bytes, reply: str) -> None:
        """Accept an event; see ``broker.nats.parser.MessageCallback``."""
        if not reply.startswith("$JS.ACK."):
            # A status of JetStream: the pull has ended.
            if subject == self._inbox:
                self._pull_ended.set()
            return
        self._expected -= 1
        if self._expected <= 0:
            self._pull_ended.set()
        received = _Received(stored_event(subject, frame, reply), reply, self._lane_of(frame))
        if self._is_draining:
            self._run(self._put_back(received, 0))
            return
        if self._queue.add(received.lane, received, received.size_bytes):
            self._start_waiting()
        else:
            self._run(self._put_back(received, None))
        if self._queue.held.room(received.lane) < _BATCH:
            self._crowded_lane = received.lane

    async def restart(self) -> None:
        """Pull again: after a reconnect, the new server does not know the last pull.

        Events that wait here are put back: without progress in the meantime, others may have them.
        """
        self._put_back_waiting()
        self._note_room()
        self._pull_ended.set()

    async def drain(self, timeout_s: float) -> None:
        """Wait until no event is in flight; all others are returned to JetStream."""
        self._is_draining = True
        self._put_back_waiting()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    @property
    def _inbox(self) -> str:
        return f"{subjects.inbox(self._bus.process_id, INBOX)}.{self._pulls}"

    async def _pull(self) -> None:
        """Request as many events as there is room for, and return when the pull has ended."""
        await self._has_room.wait()
        batch = min(_BATCH, self._queue.room)
        await self._let_drain(batch)
        self._pulls += 1
        self._expected = batch
        self._pull_ended.clear()
        start_s = asyncio.get_running_loop().time()
        request = {"batch": batch, "max_bytes": _BATCH_BYTES, "expires": int(_PULL_S * 1e9)}
        await self._bus.publish(_NEXT, _encode(request), self._inbox)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PULL_S + _PULL_GRACE_S):
                await self._pull_ended.wait()
        if self._expected == batch and asyncio.get_running_loop().time() - start_s < _RETRY_S:
            # The pull was refused, or the connection broke: the consumer may be missing.
            await asyncio.sleep(_RETRY_S)
            await ensure_consumer(self._bus, self._ack_wait_s)

    async def _let_drain(self, batch: int) -> None:
        """Give a lane time to make room for more of its events, which might come next.

        Events that are handled fast are not postponed then. Those of other lanes wait meanwhile.
        """
        lane, self._crowded_lane = self._crowded_lane, None
        if lane is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(batch / POSTPONED_PER_S):
                while self._queue.held.room(lane) < min(batch, self._queue.held.limit):
                    self._has_ended.clear()
                    await self._has_ended.wait()

    def _start_waiting(self) -> None:
        """Start the events that have a place, in the turns of their lanes."""
        while not self._is_draining and (received := self._queue.start_next()) is not None:
            self._run(self._settle(received))
        self._note_room()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, received: _Received) -> None:
        """Deliver an event, and send its settlement to JetStream."""
        event, settlement = received.event, nak(0)
        try:
            settlement = await self._deliver_in_progress(event, received.reply)
        except Exception:
            logger.exception(
                "delivery of event %d failed, retrying in %g s", event.sequence, self._ack_wait_s
            )
            settlement = nak(self._ack_wait_s)
        finally:
            self._queue.end(received.lane, received.size_bytes)
            self._start_waiting()
            self._has_ended.set()
            await self._send(received.reply, settlement)

    def _put_back_waiting(self) -> None:
        for waiting in self._queue.take_all():
            self._queue.bytes.release(waiting.lane, waiting.size_bytes)
            self._run(self._put_back(waiting, 0))

    async def _put_back(self, received: _Received, delay_s: float | None) -> None:
        """Return an event to JetStream, which delivers it again later."""
        settlement = nak(self._ack_wait_s)
        try:
            settlement = await self._postpone(received.event, delay_s)
        except FoxError as error:
            logger.warning("event %d could not be postponed: %s", received.event.sequence, error)
        finally:
            await self._send(received.reply, settlement)

    async def _deliver_in_progress(self, event: StoredEvent, reply: str) -> bytes:
        """Deliver an event, send progress meanwhile, and return its settlement."""
        delivering = asyncio.ensure_future(self._deliver(event))
        pause_s = self._ack_wait_s / PROGRESS_PER_ACK_WAIT
        try:
            while not (await asyncio.wait((delivering,), timeout=pause_s))[0]:
                await self._send(reply, _IN_PROGRESS)
            return delivering.result()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _send(self, reply: str, acknowledgement: bytes) -> None:
        # If this is lost, JetStream delivers the event again after the ack wait: at least once.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, acknowledgement)

    def _note_room(self) -> None:
        # A pull whenever there is any room would be one pull for each event.
        enough = min(_BATCH, self._queue.held.limit)
        if self._queue.room >= enough and self._queue.room_bytes >= _BATCH_BYTES:
            self._has_room.set()
        else:
            self._has_room.clear()


async def ensure_consumer(bus: Bus, ack_wait_s: float = ACK_WAIT_S) -> None:
    """Create the stream and its consumer if they are missing.

    The consumer of an earlier version of the platform gets the present limit.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_outbox(bus)
    jetstream = bus.jetstream()
    with translated_errors(bus, f"open consumer {CONSUMER}"):
        try:
            config = (await jetstream.consumer_info(STREAM, CONSUMER)).config
            if config.max_ack_pending != _EARLIER_MAX_ACK_PENDING:
                return
            config = config.evolve(max_ack_pending=_MAX_ACK_PENDING)
        except NotFoundError:
            config = api.ConsumerConfig(
                durable_name=CONSUMER, ack_wait=ack_wait_s, max_ack_pending=_MAX_ACK_PENDING
            )
        await jetstream.add_consumer(STREAM, config)


@contextlib.asynccontextmanager
async def open_deliveries(
    bus: Bus,
    deliver: Deliver,
    *,
    drain_s: float,
    postpone: Postpone | None = None,
    lane_of: LaneOf | None = None,
    limits: DeliveryLimits | None = None,
) -> AsyncIterator[Deliveries]:
    """Deliver events until the context ends, then settle those in flight.

    Args:
        bus: Connection to use.
        deliver: Called for each event, many at the same time.
        drain_s: At the end, events that take longer are returned to JetStream.
        postpone: Called for each event that is put back without a delivery.
        lane_of: Tells the events apart; None stands for one lane.
        limits: None stands for the defaults.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses to create the stream.
    """
    limits = limits or DeliveryLimits()
    await ensure_consumer(bus, limits.ack_wait_s)
    deliveries = Deliveries(bus, deliver, postpone or _postpone, lane_of or _one_lane, limits)
    subscription = await bus.serve_inbox(INBOX, deliveries.on_message)
    bus.on_reconnect(deliveries.restart)
    try:
        async with (
            run_in_background(deliveries.run(), "pulling events"),
            run_in_background(deliveries.report_progress(), "keeping events that wait"),
        ):
            yield deliveries
    finally:
        await bus.stop_serving(subscription)
        await deliveries.drain(drain_s)
        await bus.flush()


async def _postpone(_event: StoredEvent, delay_s: float | None) -> bytes:
    return nak(_RETRY_S if delay_s is None else delay_s)


def _one_lane(_frame: bytes) -> str:
    return ""
