"""A stream's messages in order, from a real JetStream; missing messages are reported."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest
from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats import ordered_consumer
from broker.nats.bus import Bus
from broker.nats.ordered_consumer import (
    HEARTBEAT_S,
    OrderedConsumer,
    StreamMessage,
    consume_in_order,
)

STREAM = "events"
SUBJECT = "events.one"
SOON_S = 0.1  # the smallest heartbeat that the server accepts
NEVER_S = 3600
WHOLE = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)


@pytest.fixture(autouse=True)
async def stream(bus: Bus) -> None:
    await bus.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])


class Reader:
    """Keeps the messages, and the reason of a reported loss."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.reason = ""
        self.lost = asyncio.Event()
        self.is_full = False
        self._added = asyncio.Event()

    def add(self, message: StreamMessage) -> None:
        self.payloads.append(message.payload)
        self._added.set()

    def report_loss(self, reason: str) -> None:
        self.reason = reason
        self.lost.set()

    async def wait_added(self, count: int) -> None:
        while len(self.payloads) < count:
            self._added.clear()
            await self._added.wait()


@pytest.fixture
async def reader() -> Reader:
    return Reader()


def consume(
    bus: Bus, reader: Reader, stream: str = STREAM, heartbeat_s: float = HEARTBEAT_S
) -> AbstractAsyncContextManager[OrderedConsumer]:
    return consume_in_order(bus, stream, WHOLE, reader, reader.report_loss, heartbeat_s=heartbeat_s)


async def pending(bus: Bus) -> int:
    """Return how many messages the only consumer has not delivered."""
    (consumer,) = await bus.jetstream().consumers_info(STREAM)
    return consumer.num_pending or 0


async def test_existing_and_new_messages_are_delivered_in_order(bus: Bus, reader: Reader) -> None:
    jetstream = bus.jetstream()
    for number in range(3):
        await jetstream.publish(SUBJECT, b"%d" % number)

    async with consume(bus, reader) as consumer:
        await jetstream.publish(SUBJECT, b"3")
        await reader.wait_added(4)

    assert consumer.pending == 3
    assert reader.payloads == [b"0", b"1", b"2", b"3"]
    assert not reader.lost.is_set()


async def test_a_message_with_headers_is_one_of_the_stream(bus: Bus, reader: Reader) -> None:
    jetstream = bus.jetstream()
    await jetstream.publish(SUBJECT, b"0")
    await jetstream.publish(SUBJECT, b"1", headers={"Kind": "headed"})
    await jetstream.publish(SUBJECT, b"2")

    async with consume(bus, reader):
        await reader.wait_added(3)

    assert reader.payloads == [b"0", b"1", b"2"]
    assert not reader.lost.is_set()


async def test_a_message_larger_than_one_read_of_the_socket_keeps_its_place(
    bus: Bus, reader: Reader
) -> None:
    jetstream, large = bus.jetstream(), b"x" * (3 << 20)
    for payload in (b"0", large, b"2"):
        await jetstream.publish(SUBJECT, payload)
        await jetstream.publish(SUBJECT, payload, headers={"Kind": "headed"})

    async with consume(bus, reader):
        await reader.wait_added(6)

    assert reader.payloads == [b"0", b"0", large, large, b"2", b"2"]


async def test_a_full_reader_slows_the_server_down_and_misses_nothing(
    bus: Bus, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may be silent for some of them.
    monkeypatch.setattr(ordered_consumer, "MISSED_HEARTBEATS", 1_000)
    jetstream, payload, count = bus.jetstream(), b"x" * (256 << 10), 400
    for _ in range(count):
        await jetstream.publish(SUBJECT, payload)
    reader.is_full = True

    async with consume(bus, reader, heartbeat_s=SOON_S) as consumer:
        before, left = count, await pending(bus)
        while left < before:
            await bus.flush()
            before, left = left, await pending(bus)
        assert len(reader.payloads) < count

        reader.is_full = False
        consumer.resume()
        await reader.wait_added(count)

    assert not reader.lost.is_set()


async def test_silence_of_the_server_is_reported_as_a_loss(bus: Bus, reader: Reader) -> None:
    async with consume_in_order(bus, STREAM, WHOLE, reader, reader.report_loss, heartbeat_s=SOON_S):
        (consumer,) = await bus.jetstream().consumers_info(STREAM)
        await bus.jetstream().delete_consumer(STREAM, consumer.name)

        await reader.lost.wait()

    assert "silent" in reader.reason


async def test_heartbeats_alone_prevent_a_reported_loss(
    bus: Bus, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered_consumer, "MISSED_HEARTBEATS", 1_000)
    async with consume(bus, reader, heartbeat_s=SOON_S) as consumer:
        for _ in range(3):
            timer = consumer._timer
            while consumer._timer is timer:
                await bus.flush()
            # Each heartbeat begins the time of silence again.
            assert timer.cancelled()
            assert consumer._timer.when() > timer.when()

    assert not reader.lost.is_set()


@pytest.mark.parametrize("place", ["", "hub.account."], ids=["plain", "with-domain"])
async def test_a_missed_message_is_reported_with_the_next_one(
    bus: Bus, reader: Reader, place: str
) -> None:
    consumer = OrderedConsumer(bus, reader, reader.report_loss, NEVER_S)

    for number in (1, 3):
        reply = f"$JS.ACK.{place}{STREAM}.consumer.1.{number}.{number}.0.0"
        consumer.receive(SUBJECT.encode(), reply.encode(), b"", b"%d" % number)
    consumer.close()

    assert reader.reason == "message 3 came after 1"
    assert reader.payloads == [b"1"]


async def test_a_missed_last_message_is_reported_with_the_heartbeat(
    bus: Bus, reader: Reader
) -> None:
    consumer = OrderedConsumer(bus, reader, reader.report_loss, NEVER_S)
    heartbeat = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 2\r\n\r\n"

    consumer.receive(SUBJECT.encode(), b"", heartbeat, b"")
    consumer.close()

    assert reader.reason == "2 messages were sent and 0 came"


async def test_a_loss_is_reported_once_and_nothing_is_taken_after_it(
    bus: Bus, reader: Reader
) -> None:
    reasons: list[str] = []
    consumer = OrderedConsumer(bus, reader, reasons.append, NEVER_S)

    for number in (1, 2, 1, 2, 3):
        reply = f"$JS.ACK.{STREAM}.consumer.1.{number}.{number}.0.0"
        consumer.receive(SUBJECT.encode(), reply.encode(), b"", b"%d" % number)
    consumer.close()

    assert reasons == ["message 1 came after 2"]
    assert reader.payloads == [b"1", b"2"]


async def test_a_missing_stream_is_an_error(bus: Bus, reader: Reader) -> None:
    with pytest.raises(NotFoundError):
        async with consume(bus, reader, "none"):
            pass
