"""A stream's messages, pushed by the server in order; a gap or a silence is told, never hidden.

nats-py has ordered consumers too, but each wakes its process four times a second to see whether
flow control is to be answered. Here that is a message among the others, answered when all before it
has been taken, so back-pressure reaches the server; and a heartbeat winds up the one timer, which
goes off only without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import api

from broker.bus import Bus, status_of
from broker.cancelling import cancellable
from model.errors import FoxError

HEARTBEAT_S = 5.0
"""How often the server says that there is nothing new."""

SILENT_HEARTBEATS = 3
"""After so many that did not come, the server has lost the consumer."""

_CONTROL = api.StatusCode.CONTROL_MESSAGE.value

Take = Callable[[Msg], Awaitable[None]]


class OrderedMessages:
    """What one consumer delivers, checked; made by ``delivering``.

    Args:
        bus: Answers flow control.
        take: Takes each message; the next one waits for it.
        lose: Called, perhaps more than once, with why messages may be missing from now on.
        silence_s: How long the server may say nothing.
    """

    def __init__(self, bus: Bus, take: Take, lose: Callable[[str], None], silence_s: float) -> None:
        """Expect the first message."""
        self._bus = bus
        self._take = take
        self._lose = lose
        self._silence_s = silence_s
        self._taken = 0
        self._is_taking = False
        self._wind_up()

    async def receive(self, message: Msg) -> None:
        """Take a message of the consumer, or what the server says in between."""
        if status_of(message) == _CONTROL:
            await self._heed(message)
        else:
            await self._deliver(message)

    def end(self) -> None:
        """Wait for heartbeats no longer."""
        self._timer.cancel()

    async def _deliver(self, message: Msg) -> None:
        sequence = message.metadata.sequence.consumer
        if sequence != self._taken + 1:
            self._lose(f"message {sequence} came after {self._taken}")
            return
        self._is_taking = True
        try:
            await self._take(message)
        finally:
            self._is_taking = False
        self._taken = sequence

    async def _heed(self, message: Msg) -> None:
        """Answer flow control; compare what a heartbeat says was sent with what has come."""
        headers = message.headers or {}
        self._timer.cancel()
        self._wind_up()
        if go_on := message.reply or headers.get(api.Header.CONSUMER_STALLED.value):
            with contextlib.suppress(FoxError):  # without a connection all begins anew
                await self._bus.publish(go_on, b"")
        sent = int(headers.get(api.Header.LAST_CONSUMER.value, self._taken))
        if sent != self._taken:
            self._lose(f"{sent} messages were sent and {self._taken} came")

    def _wind_up(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._silence_s, self._look, self._taken)

    def _look(self, taken: int) -> None:
        """Tell that there was silence; messages that come are as good as heartbeats."""
        if self._is_taking or self._taken != taken:
            self._wind_up()
        else:
            self._lose(f"the server was silent for {self._silence_s:g} s")


@contextlib.asynccontextmanager
async def delivering(
    bus: Bus,
    stream: str,
    config: api.ConsumerConfig,
    take: Take,
    lose: Callable[[str], None],
    *,
    heartbeat_s: float = HEARTBEAT_S,
) -> AsyncIterator[int]:
    """Have a stream's messages delivered until the context ends.

    A reconnect is not noticed here: then, and when messages were lost, begin anew.

    Args:
        bus: Connection to use.
        stream: Name of the stream.
        config: Which of its messages, from where on; how they are delivered is added here.
        take: Takes each message; the next one waits for it.
        lose: Called, perhaps more than once, with why messages may be missing from now on.
        heartbeat_s: How often the server is to speak.

    Yields:
        How many messages were there at the beginning.

    Raises:
        nats.errors.Error: There is no such stream, or no JetStream.
        TimeoutError: NATS does not answer.
    """
    messages = OrderedMessages(bus, take, lose, SILENT_HEARTBEATS * heartbeat_s)
    try:
        async with _subscribed(bus, messages) as subject:
            wanted = _ordered(config, subject, heartbeat_s)
            consumer = await cancellable(bus.jetstream().add_consumer(stream, wanted))
            yield consumer.num_pending or 0
    finally:
        messages.end()


@contextlib.asynccontextmanager
async def _subscribed(bus: Bus, messages: OrderedMessages) -> AsyncIterator[str]:
    """Subscribe as plain NATS does it, not as JetStream of nats-py; yield the subject."""
    subscription = await bus.listen(messages.receive)
    try:
        yield subscription.subject
    finally:
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()


def _ordered(config: api.ConsumerConfig, subject: str, heartbeat_s: float) -> api.ConsumerConfig:
    return config.evolve(
        deliver_subject=subject,
        ack_policy=api.AckPolicy.NONE,
        max_deliver=1,
        flow_control=True,
        idle_heartbeat=heartbeat_s,
        # It lives as long as the connection, so the server need not keep it any longer.
        mem_storage=True,
        num_replicas=1,
    )
