"""A stream's messages, pushed by the server in order; a gap or silence is reported, never hidden.

nats-py has ordered consumers too, but each of them wakes its process four times a second to check
whether flow control must be answered. Here flow control is a message among the others, answered
when the reader has room again, so back-pressure reaches the server. A heartbeat resets the one
timer, so the timer fires only when heartbeats are missing.

Messages are read as bytes, without nats-py's queue, task and objects for each: a bucket of 300,000
keys is read at every start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec
from nats.js import api

from broker.nats.bus import Bus
from broker.nats.consumer_limit import add_consumer

HEARTBEAT_S = 5.0
"""How often an idle server sends a heartbeat."""

CLUSTER_HEARTBEAT_S = 1.0
"""The same in a cluster: the consumer is lost with one of its servers, and the connection stays."""

MISSED_HEARTBEATS = 3
"""After so many missing heartbeats, the server has lost the consumer."""

ReportLoss = Callable[[str], None]

_CONTROL = b"NATS/1.0 100"
# A message's reply subject is $JS.ACK.<stream>.<consumer>.<delivered>.<sequence in the stream>.
# <sequence in the consumer>.<time>.<pending>; newer servers may insert domain and account.
_TOKENS = 9
_MORE_TOKENS = 2


class StreamMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a stream.

    Attributes:
        subject: Its subject.
        headers: Its headers as NATS sends them; empty without any.
        payload: Its content.
        sequence: Its sequence in the stream.
        pending: How many messages follow at the moment.
    """

    subject: bytes
    headers: bytes
    payload: bytes
    sequence: int
    pending: int


class StreamReader(Protocol):
    """Takes the messages of a stream."""

    def add(self, message: StreamMessage) -> None:
        """Take the next message; never waits."""

    @property
    def is_full(self) -> bool:
        """Whether the server should send no more for now; ``resume`` is called after that."""


class OrderedConsumer:
    """Checks the messages of one consumer; made by ``consume_in_order``.

    Args:
        bus: Connection that flow control is answered on.
        reader: Takes the messages.
        report_loss: Called with the reason, once, when messages may be missing.
        silence_s: How long the server may send nothing.

    Attributes:
        pending: How many messages were there at the beginning.
        on_heartbeat: Called for each heartbeat of a server that has nothing more to send.
    """

    def __init__(
        self, bus: Bus, reader: StreamReader, report_loss: ReportLoss, silence_s: float
    ) -> None:
        self.pending = 0
        self.on_heartbeat: Callable[[], None] = _do_nothing
        self._bus = bus
        self._reader = reader
        self._report_loss = report_loss
        self._silence_s = silence_s
        self._received = 0
        self._is_lost = False
        # Flow control that the server waits for.
        self._unanswered: list[str] = []
        self._start_timer()

    def receive(self, subject: bytes, reply: bytes, headers: bytes, payload: bytes) -> None:
        """Take a message of the stream, or a control message of the server; none after a loss."""
        if self._is_lost:
            return
        if headers.startswith(_CONTROL):
            self._receive_control(reply, headers)
            return
        tokens = reply.split(b".")
        at = 5 if len(tokens) == _TOKENS else 5 + _MORE_TOKENS
        number = int(tokens[at + 1])
        if number != self._received + 1:
            self._lose(f"message {number} came after {self._received}")
            return
        self._received = number
        sequence, pending = int(tokens[at]), int(tokens[at + 3])
        self._reader.add(StreamMessage(subject, headers, payload, sequence, pending))

    def resume(self) -> None:
        """Answer flow control; to be called when the reader has room again."""
        # What cannot be sent now is asked for again by the next heartbeat.
        self._unanswered = [reply for reply in self._unanswered if not self._bus.send(reply, b"")]

    def close(self) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _receive_control(self, reply: bytes, headers: bytes) -> None:
        """Note flow control, and compare the count in a heartbeat with the messages received."""
        found = parse_headers(headers)
        self._timer.cancel()
        self._start_timer()
        flow_control = reply.decode() or found.get(api.Header.CONSUMER_STALLED.value)
        if flow_control and flow_control not in self._unanswered:
            self._unanswered.append(flow_control)
        if not self._reader.is_full:
            self.resume()
        sent = int(found.get(api.Header.LAST_CONSUMER.value, self._received))
        if sent != self._received:
            self._lose(f"{sent} messages were sent and {self._received} came")
        elif not flow_control:
            self.on_heartbeat()

    def _start_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._silence_s, self._check_silence, self._received)

    def _check_silence(self, received_before: int) -> None:
        """Report silence; messages count as heartbeats."""
        if self._reader.is_full or self._received != received_before:
            self._start_timer()
        else:
            self._lose(f"the server was silent for {self._silence_s:g} s")

    def _lose(self, reason: str) -> None:
        """Report a loss, once, and take nothing more.

        A server that has restarted the consumer sends other messages under the same numbers: one
        that seems to follow would hide those before it.
        """
        if not self._is_lost:
            self._is_lost = True
            self._report_loss(reason)


def _do_nothing() -> None:
    """Stand in until the consumer has a listener."""


def parse_headers(headers: bytes) -> dict[str, str]:
    """Return the headers of a message; of several equal names, the last one."""
    lines = headers.decode(errors="replace").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return {name: value.strip() for name, separator, value in pairs if separator}


@contextlib.asynccontextmanager
async def consume_in_order(
    bus: Bus,
    stream: str,
    config: api.ConsumerConfig,
    reader: StreamReader,
    report_loss: ReportLoss,
    *,
    heartbeat_s: float | None = None,
) -> AsyncIterator[OrderedConsumer]:
    """Consume a stream's messages in order until the context ends.

    A reconnect is not noticed here. After a reconnect and after a reported loss, the caller must
    consume again.

    Args:
        bus: Connection to use.
        stream: Name of the stream.
        config: Which messages, and the first one; the way they are delivered is added here.
        reader: Takes the messages.
        report_loss: Called with the reason, once, when messages may be missing.
        heartbeat_s: How often an idle server sends a heartbeat; None decides by the servers.

    Yields:
        The consumer; call ``resume`` when the reader has room again.

    Raises:
        nats.errors.Error: The stream does not exist, or the server has no JetStream.
        NatsUnavailable: The stream has as many consumers as NATS allows.
        TimeoutError: NATS does not answer.
    """
    if heartbeat_s is None:
        heartbeat_s = CLUSTER_HEARTBEAT_S if bus.is_clustered else HEARTBEAT_S
    consumer = OrderedConsumer(bus, reader, report_loss, MISSED_HEARTBEATS * heartbeat_s)
    try:
        # Plain NATS, not nats-py's JetStream.
        subscription = await bus.listen_raw(consumer.receive)
        try:
            wanted = _ordered(config, subscription.subject, heartbeat_s)
            info = await add_consumer(bus, stream, wanted)
            consumer.pending = info.num_pending or 0
            yield consumer
        finally:
            await bus.stop_listening(subscription)
    finally:
        consumer.close()


def _ordered(config: api.ConsumerConfig, subject: str, heartbeat_s: float) -> api.ConsumerConfig:
    return config.evolve(
        deliver_subject=subject,
        ack_policy=api.AckPolicy.NONE,
        max_deliver=1,
        flow_control=True,
        idle_heartbeat=heartbeat_s,
        # The consumer lives as long as the connection, so it need not survive the server.
        mem_storage=True,
        num_replicas=1,
    )
