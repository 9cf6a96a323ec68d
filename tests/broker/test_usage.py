"""Whether anybody still needs a component version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from broker import bus as buses
from broker.bus import Bus
from broker.outbox import STREAM, Outbox, ensure_outbox
from broker.usage import Usage, used_lately, wait_unused
from model import subjects
from tests.support.nats import NatsServer

HASHES = frozenset({"a" * 32})
LONG_S = 60


@pytest.fixture
async def bus(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="test") as bus:
        yield bus


async def answer(bus: Bus, *answers: Usage) -> None:
    """Be a broker that gives ``answers`` one after another, and then the last one for ever."""
    remaining = list(answers)

    async def tell(_payload: bytes, reply: str) -> None:
        usage = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        await bus.publish(reply, msgspec.msgpack.encode(usage))

    await bus.serve(subjects.USAGE, tell)


async def test_without_brokers_nothing_is_in_use(bus: Bus) -> None:
    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_a_version_is_unused_when_no_request_may_need_it(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=frozenset({"b" * 32})))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_the_last_request_that_may_need_a_version_is_waited_for(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=HASHES), Usage(revision=7, hashes=frozenset()))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_a_broker_that_has_older_data_is_waited_for(bus: Bus) -> None:
    await answer(bus, Usage(revision=6, hashes=frozenset()), Usage(revision=7, hashes=frozenset()))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_one_broker_of_several_that_needs_it_is_enough(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=frozenset()))
    await answer(bus, Usage(revision=7, hashes=HASHES))

    assert not await wait_unused(bus, HASHES, 7, timeout_s=0.4)


async def test_a_version_is_needed_until_its_events_are_settled(bus: Bus) -> None:
    await ensure_outbox(bus)
    for digest in ("a" * 32, "b" * 32):
        subject = subjects.emitted(subjects.component("shop", "mail", digest))
        await Outbox(bus).store(subject, b"")

    waiting = asyncio.create_task(wait_unused(bus, HASHES, 7, LONG_S))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await bus.jetstream().purge_stream(STREAM, subject=subjects.emitted_to("a" * 32))

    assert await waiting


async def test_events_that_nobody_delivers_do_not_keep_a_version_for_ever(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.usage.EVENTS_S", 0.05)
    await ensure_outbox(bus)
    await Outbox(bus).store(subjects.emitted(subjects.component("shop", "mail", "a" * 32)), b"")

    assert not await wait_unused(bus, HASHES, 7, LONG_S)


async def test_while_nats_is_away_nobody_can_say_so(bus: Bus, own_nats_server: NatsServer) -> None:
    own_nats_server.stop()

    assert not await wait_unused(bus, HASHES, 7, timeout_s=0.4)


async def test_an_answer_that_cannot_be_read_keeps_the_version(bus: Bus) -> None:
    async def garble(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"\xc1 no MessagePack")

    await bus.serve(subjects.USAGE, garble)
    await bus.flush()

    assert not await wait_unused(bus, HASHES, 1, timeout_s=0.1)


async def test_what_any_broker_has_used_lately_is_used(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=HASHES))
    await answer(bus, Usage(revision=7, hashes=frozenset({"b" * 32})))

    assert await used_lately(bus, LONG_S) == frozenset({"a" * 32, "b" * 32})


async def test_when_no_broker_answers_nothing_is_known_of_what_was_used(bus: Bus) -> None:
    assert await used_lately(bus, LONG_S) is None
