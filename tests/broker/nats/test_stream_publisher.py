"""Messages to streams are acknowledged, recognised as duplicates, or refused with the reason."""

from __future__ import annotations

import asyncio

import pytest
from nats.js import api

from broker.nats.bus import Bus
from broker.nats.stream_publisher import StreamPublisher
from kubefox.errors import NatsUnavailable
from tests.support.nats import NatsServer

FOREVER_S = 60.0


async def add_stream(bus: Bus, **limits: int) -> None:
    config = api.StreamConfig(name="kept", subjects=["kept.*"], **limits)  # type: ignore[arg-type]
    await bus.jetstream().add_stream(config)


async def test_messages_are_stored_in_their_order(bus: Bus) -> None:
    await add_stream(bus)
    publisher = StreamPublisher(bus)

    answers = await asyncio.gather(
        *(publisher.publish("kept.a", b"%d" % number, timeout_s=FOREVER_S) for number in range(100))
    )

    assert all(answer is not None and answer.error is None for answer in answers)
    stored = [await bus.jetstream().get_msg("kept", number) for number in (1, 100)]
    assert [message.data for message in stored] == [b"0", b"99"]


async def test_a_message_with_a_known_id_is_a_duplicate(bus: Bus) -> None:
    await add_stream(bus)
    publisher = StreamPublisher(bus)

    first = await publisher.publish("kept.a", b"x", message_id="1", timeout_s=FOREVER_S)
    second = await publisher.publish("kept.a", b"x", message_id="1", timeout_s=FOREVER_S)

    assert first is not None
    assert second is not None
    assert (first.duplicate, second.duplicate) == (False, True)


async def test_a_subject_of_no_stream_is_told_at_once(bus: Bus) -> None:
    publisher = StreamPublisher(bus)

    assert await publisher.publish("kept.a", b"x", timeout_s=FOREVER_S) is None


async def test_a_refusal_has_its_reason(bus: Bus) -> None:
    await add_stream(bus, max_msg_size=4)

    answer = await StreamPublisher(bus).publish("kept.a", b"12345", timeout_s=FOREVER_S)

    assert answer is not None
    assert answer.error is not None
    assert answer.error.err_code == 10054


async def test_an_answer_that_does_not_come_is_an_error(bus: Bus) -> None:
    async def ignore(_payload: bytes, _reply: str) -> None: ...

    await bus.serve("kept.a", ignore)

    with pytest.raises(NatsUnavailable, match="does not answer"):
        await StreamPublisher(bus).publish("kept.a", b"x", timeout_s=0.05)


async def test_messages_that_wait_fail_with_the_connection_and_later_ones_are_stored(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    publisher = StreamPublisher(bus)
    is_up = asyncio.Event()

    async def hold(_payload: bytes, _reply: str) -> None: ...

    async def note() -> None:
        is_up.set()

    held = await bus.serve("held", hold)
    bus.on_reconnect(note)
    waiting = asyncio.create_task(publisher.publish("held", b"x", timeout_s=FOREVER_S))
    while not bus.malformed.count:  # it has arrived; no receiver replies to an inbox
        await asyncio.sleep(0.001)
    await asyncio.to_thread(own_nats_server.restart)

    with pytest.raises(NatsUnavailable):
        await waiting
    await is_up.wait()
    await bus.stop_serving(held)
    await add_stream(bus)
    assert await publisher.publish("kept.a", b"x", timeout_s=FOREVER_S) is not None
