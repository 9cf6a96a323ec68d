"""A stream's messages in order, from a real JetStream: what is missed is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError

from broker import bus as buses
from broker.bus import Bus
from broker.ordered import OrderedMessages, delivering
from tests.support.nats import NatsServer

STREAM = "events"
SUBJECT = "events.one"
SOON_S = 0.1  # the least that the server takes
NEVER_S = 3600
WHOLE = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL)


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        await bus.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])
        yield bus


class Reader:
    """Keeps what it is given, and why nothing more can be relied on."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.reason = ""
        self.lost = asyncio.Event()
        self.may_take = asyncio.Event()
        self.may_take.set()
        self._taken = asyncio.Condition()

    async def take(self, message: Msg) -> None:
        await self.may_take.wait()
        self.payloads.append(message.data)
        async with self._taken:
            self._taken.notify_all()

    def lose(self, reason: str) -> None:
        self.reason = reason
        self.lost.set()

    async def wait_taken(self, count: int) -> None:
        async with self._taken:
            await self._taken.wait_for(lambda: len(self.payloads) >= count)


@pytest.fixture
async def reader() -> Reader:
    return Reader()


async def subject_of(bus: Bus) -> str:
    """Return the subject on which the only consumer delivers."""
    (consumer,) = await bus.jetstream().consumers_info(STREAM)
    assert consumer.config.deliver_subject
    return consumer.config.deliver_subject


async def pending(bus: Bus) -> int:
    """Return how many messages the only consumer has yet to deliver."""
    (consumer,) = await bus.jetstream().consumers_info(STREAM)
    return consumer.num_pending or 0


async def test_what_is_there_and_what_comes_is_delivered_in_order(bus: Bus, reader: Reader) -> None:
    jetstream = bus.jetstream()
    for number in range(3):
        await jetstream.publish(SUBJECT, b"%d" % number)

    async with delivering(bus, STREAM, WHOLE, reader.take, reader.lose) as waiting:
        await jetstream.publish(SUBJECT, b"3")
        await reader.wait_taken(4)

    assert waiting == 3
    assert reader.payloads == [b"0", b"1", b"2", b"3"]
    assert not reader.lost.is_set()


async def test_a_reader_that_is_slow_holds_up_the_server_and_misses_nothing(
    bus: Bus, reader: Reader
) -> None:
    jetstream, payload, count = bus.jetstream(), b"x" * (256 << 10), 200
    for _ in range(count):
        await jetstream.publish(SUBJECT, payload)
    reader.may_take.clear()

    async with delivering(bus, STREAM, WHOLE, reader.take, reader.lose, heartbeat_s=SOON_S):
        before, left = count, await pending(bus)
        while left < before:
            await bus.flush()
            before, left = left, await pending(bus)
        assert left > count / 2

        reader.may_take.set()
        await reader.wait_taken(count)

    assert not reader.lost.is_set()


async def test_a_server_that_says_nothing_has_lost_the_consumer(bus: Bus, reader: Reader) -> None:
    async with delivering(bus, STREAM, WHOLE, reader.take, reader.lose, heartbeat_s=SOON_S):
        (consumer,) = await bus.jetstream().consumers_info(STREAM)
        await bus.jetstream().delete_consumer(STREAM, consumer.name)

        await reader.lost.wait()

    assert "silent" in reader.reason


async def test_heartbeats_are_enough_to_go_on(bus: Bus, reader: Reader) -> None:
    async with delivering(bus, STREAM, WHOLE, reader.take, reader.lose, heartbeat_s=SOON_S):
        heartbeats: list[bytes] = []

        async def count(payload: bytes, _reply: str) -> None:
            heartbeats.append(payload)

        await bus.serve(await subject_of(bus), count)
        while len(heartbeats) < 5:
            await bus.flush()

    assert not reader.lost.is_set()


async def test_a_message_that_was_missed_is_noticed_with_the_next(bus: Bus, reader: Reader) -> None:
    messages = OrderedMessages(bus, reader.take, reader.lose, NEVER_S)

    await messages.receive(numbered(1))
    await messages.receive(numbered(3))
    messages.end()

    assert reader.reason == "message 3 came after 1"
    assert reader.payloads == [b"1"]


def numbered(number: int) -> Msg:
    """Return a message as a consumer delivers it as its ``number``-th."""
    reply = f"$JS.ACK.{STREAM}.consumer.1.{number}.{number}.0.0"
    return Msg(Client(), SUBJECT, reply, b"%d" % number)


async def test_a_last_message_that_was_missed_is_noticed_with_the_heartbeat(
    bus: Bus, reader: Reader
) -> None:
    async with delivering(bus, STREAM, WHOLE, reader.take, reader.lose, heartbeat_s=NEVER_S):
        headers = {"Status": "100", "Nats-Last-Consumer": "2"}
        await bus.jetstream()._nc.publish(await subject_of(bus), headers=headers)

        await reader.lost.wait()

    assert reader.reason == "2 messages were sent and 0 came"


async def test_a_stream_that_is_missing_is_told(bus: Bus, reader: Reader) -> None:
    with pytest.raises(NotFoundError):
        async with delivering(bus, "none", WHOLE, reader.take, reader.lose):
            pass
