"""Hands out the events that wait: one durable consumer for every process that delivers them.

A pull asks for many events at once and waits half a minute, so who has nothing to do is woken twice
a minute. An event is held by who has it as long as that says so every few seconds; when it says no
more, somebody else gets it. ``nats-py`` has pulls of its own, which cost 29 µs a message instead of
10 and wait for the whole batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import msgspec
from nats.js import api
from nats.js.errors import NotFoundError

from broker.background import running
from broker.bus import Bus
from broker.jetstream import reported
from broker.outbox import STREAM, ensure_outbox
from model.errors import FoxError, NatsUnavailable

logger = logging.getLogger(__name__)

CONSUMER = "deliver"
MAX_IN_HAND = 256
"""Events that one process delivers at once."""
# Those that wait for another attempt count too: were they few, the failures of one component
# would keep the events of all others waiting.
_MAX_UNSETTLED = 10_000
_HOLD_S = 10.0
_HOLDS_PER_TIME = 3
# A pull that meets a consumer being removed is lost without a word: for so long at most.
_PULL_S = 30.0
_PULL_GRACE_S = 5.0
_RETRY_S = 1.0
_NEXT = f"$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}"
_ACK_WORDS = 9
_WORDS_AT_END = 5

DONE = b"+ACK"
"""Settles an event: it is forgotten."""
_HELD = b"+WPI"

_encode = msgspec.json.Encoder().encode


class StoredEvent(NamedTuple):
    """An event as it is handed out.

    Attributes:
        subject: ``emit.<app>.<component>.<hash>``.
        frame: Of ``model.event.Event``, unread.
        sequence: Its number in the stream.
        deliveries: How often it has been handed out, this time included.
        stored_at_s: Unix time at which it was stored.
    """

    subject: str
    frame: bytes
    sequence: int
    deliveries: int
    stored_at_s: float


Deliver = Callable[[StoredEvent], Awaitable[bytes]]
"""Delivers an event and returns how it is settled: ``DONE`` or ``again``."""


def again(delay_s: float) -> bytes:
    """Settle an event: it is to be handed out once more, after a time."""
    return b"-NAK " + _encode({"delay": int(delay_s * 1e9)})


class Deliveries:
    """What one process has in hand; made by ``open_deliveries``."""

    def __init__(self, bus: Bus, deliver: Deliver, max_in_hand: int) -> None:
        """Prepare; nothing is pulled before ``run``."""
        self._bus = bus
        self._deliver = deliver
        self._max_in_hand = max_in_hand
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._ended = asyncio.Event()
        self._pulls = 0
        self._wanted = 0
        self.prefix = f"inbox.{bus.process_id}-emit"

    @property
    def in_hand(self) -> int:
        """How many events are being delivered."""
        return len(self._tasks)

    async def run(self) -> None:
        """Pull until cancelled."""
        while True:
            try:
                await self._pull()
            except FoxError as error:
                logger.warning("no events are delivered, trying again: %s", error)
                await asyncio.sleep(_RETRY_S)
            except Exception:
                logger.exception("no events are delivered, trying again")
                await asyncio.sleep(_RETRY_S)

    def take(self, subject: str, frame: bytes, reply: str) -> None:
        """Take a message from the bus; see ``broker.bus.Taker``."""
        if not reply.startswith("$JS.ACK."):
            # Not an event, but word of JetStream that a pull has ended.
            if subject == self._inbox:
                self._ended.set()
            return
        self._wanted -= 1
        if self._wanted <= 0:
            self._ended.set()
        task = asyncio.create_task(self._settle(_stored_event(subject, frame, reply), reply))
        self._tasks.add(task)
        task.add_done_callback(self._settled)
        if not self._is_half_empty:
            self._has_room.clear()

    async def restart(self) -> None:
        """Pull anew: the server that was asked knows nothing of it any more."""
        self._ended.set()

    async def drain(self, timeout_s: float) -> None:
        """Return when nothing is in hand; what takes longer is handed back at once."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    @property
    def _inbox(self) -> str:
        return f"{self.prefix}.{self._pulls}"

    async def _pull(self) -> None:
        """Ask for as many events as there is room for, and return when that has ended."""
        await self._has_room.wait()
        self._pulls += 1
        self._wanted = asked = self._max_in_hand - len(self._tasks)
        self._ended.clear()
        began_s = asyncio.get_running_loop().time()
        question = {"batch": asked, "expires": int(_PULL_S * 1e9)}
        await self._bus.publish(_NEXT, _encode(question), self._inbox)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PULL_S + _PULL_GRACE_S):
                await self._ended.wait()
        if self._wanted == asked and asyncio.get_running_loop().time() - began_s < _RETRY_S:
            # Refused, or the connection broke: the consumer may be gone, or its server.
            await asyncio.sleep(_RETRY_S)
            await ensure_consumer(self._bus)

    async def _settle(self, event: StoredEvent, reply: str) -> None:
        """Deliver an event, hold it meanwhile, and settle it."""
        settlement = again(0)
        try:
            settlement = await self._hold(event, reply)
        except Exception:
            logger.exception("event %d could not be delivered", event.sequence)
            settlement = again(_HOLD_S)
        finally:
            await self._tell(reply, settlement)

    async def _hold(self, event: StoredEvent, reply: str) -> bytes:
        delivering = asyncio.ensure_future(self._deliver(event))
        try:
            while not (await asyncio.wait((delivering,), timeout=_HOLD_S / _HOLDS_PER_TIME))[0]:
                await self._tell(reply, _HELD)
            return delivering.result()
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _tell(self, reply: str, word: bytes) -> None:
        # Unheard, the event is handed out again when its time is over: at least once.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(reply, word)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._is_half_empty:
            self._has_room.set()

    @property
    def _is_half_empty(self) -> bool:
        # To pull as soon as there is any room would cost a pull for each event.
        return len(self._tasks) <= self._max_in_hand // 2


async def ensure_consumer(bus: Bus) -> None:
    """Make the stream and its consumer unless they are there.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    await ensure_outbox(bus)
    jetstream = bus.jetstream()
    with reported(bus, f"open consumer {CONSUMER}"):
        try:
            await jetstream.consumer_info(STREAM, CONSUMER)
        except NotFoundError:
            config = api.ConsumerConfig(
                durable_name=CONSUMER, ack_wait=_HOLD_S, max_ack_pending=_MAX_UNSETTLED
            )
            await jetstream.add_consumer(STREAM, config)


@contextlib.asynccontextmanager
async def open_deliveries(
    bus: Bus, deliver: Deliver, *, drain_s: float, max_in_hand: int = MAX_IN_HAND
) -> AsyncIterator[Deliveries]:
    """Hand out events until the context ends; then what is in hand is settled.

    Args:
        bus: Connection to use.
        deliver: Called for each event, many at a time.
        drain_s: What takes longer in the end is handed back, for others to deliver.
        max_in_hand: How many at a time.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses to make the stream.
    """
    await ensure_consumer(bus)
    deliveries = Deliveries(bus, deliver, max_in_hand)
    subscription = await bus.take(f"{deliveries.prefix}.*", deliveries.take)
    bus.on_reconnect(deliveries.restart)
    try:
        async with running(deliveries.run(), "pulling events"):
            yield deliveries
    finally:
        await bus.stop_serving(subscription)
        await deliveries.drain(drain_s)
        await bus.flush()


def _stored_event(subject: str, frame: bytes, reply: str) -> StoredEvent:
    """Return what a message and the subject of its acknowledgement say.

    ``$JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<stored, ns>.
    <how many wait>``; where there are domains, two words more stand before the stream and perhaps
    one at the end (NATS ADR-15).
    """
    words = reply.split(".")
    at = _ACK_WORDS - _WORDS_AT_END if len(words) == _ACK_WORDS else _ACK_WORDS - _WORDS_AT_END + 2
    deliveries, sequence, _, stored_ns, _ = words[at : at + _WORDS_AT_END]
    return StoredEvent(subject, frame, int(sequence), int(deliveries), int(stored_ns) / 1e9)
