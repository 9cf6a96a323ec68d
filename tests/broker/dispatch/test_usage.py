"""Usage of component versions, as brokers and the stream of events report it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.dispatch.usage import Usage, used_lately, wait_unused
from broker.events.outbox import STREAM, Outbox, ensure_outbox
from broker.nats.bus import Bus
from kubefox import subjects
from tests.support.nats import NatsServer

HASHES = frozenset({"a" * 32})
LONG_S = 60


async def answer(bus: Bus, *answers: Usage) -> None:
    """Answer as a broker, with ``answers`` one after another; repeat the last one."""
    remaining = list(answers)

    async def answer_usage(_payload: bytes, reply: str) -> None:
        usage = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        await bus.publish(reply, msgspec.msgpack.encode(usage))

    await bus.serve(subjects.USAGE, answer_usage)


def gather_both(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make questions end with the second answer, instead of after a time."""
    gather = bus.gather

    async def gather_two(subject: str, payload: bytes, _wait_s: float) -> list[bytes]:
        found: list[bytes] = []

        def is_last(answer: bytes) -> bool:
            found.append(answer)
            return len(found) == 2

        return await gather(subject, payload, LONG_S, is_last=is_last)

    monkeypatch.setattr(bus, "gather", gather_two)


async def test_without_brokers_nothing_is_in_use(bus: Bus) -> None:
    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_a_version_is_unused_when_no_request_may_need_it(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=frozenset({"b" * 32})))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_wait_unused_waits_for_the_last_request_of_a_version(bus: Bus) -> None:
    await answer(bus, Usage(revision=7, hashes=HASHES), Usage(revision=7, hashes=frozenset()))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_wait_unused_waits_for_a_broker_with_older_data(bus: Bus) -> None:
    await answer(bus, Usage(revision=6, hashes=frozenset()), Usage(revision=7, hashes=frozenset()))

    assert await wait_unused(bus, HASHES, 7, LONG_S)


async def test_a_version_used_by_one_of_several_brokers_is_in_use(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather_both(bus, monkeypatch)
    await answer(bus, Usage(revision=7, hashes=frozenset()))
    await answer(bus, Usage(revision=7, hashes=HASHES))

    assert not await wait_unused(bus, HASHES, 7, timeout_s=0.4)


async def test_a_version_is_in_use_until_its_events_are_acknowledged(bus: Bus) -> None:
    await ensure_outbox(bus)
    for digest in ("a" * 32, "b" * 32):
        subject = subjects.emitted(subjects.component("shop", "mail", digest))
        await Outbox(bus).store(subject, b"")

    waiting = asyncio.create_task(wait_unused(bus, HASHES, 7, LONG_S))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await bus.jetstream().purge_stream(STREAM, subject=subjects.emitted_to("a" * 32))

    assert await waiting


async def test_events_keep_a_version_that_a_broker_uses_for_longer_than_a_request(
    bus: Bus,
) -> None:
    await ensure_outbox(bus)
    await Outbox(bus).store(subjects.emitted(subjects.component("shop", "mail", "a" * 32)), b"")
    await answer(bus, Usage(revision=7, hashes=HASHES))

    waiting = asyncio.create_task(wait_unused(bus, HASHES, 7, timeout_s=0.05))
    await asyncio.wait([waiting], timeout=1)
    assert not waiting.done()
    await bus.jetstream().purge_stream(STREAM)

    assert not await waiting


async def test_events_that_are_not_delivered_keep_a_version_for_a_limited_time(
    bus: Bus,
) -> None:
    await ensure_outbox(bus)
    await Outbox(bus).store(subjects.emitted(subjects.component("shop", "mail", "a" * 32)), b"")

    assert not await wait_unused(bus, HASHES, 7, LONG_S, events_timeout_s=0.05)


async def test_without_nats_a_version_is_not_known_to_be_unused(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    own_nats_server.stop()

    assert not await wait_unused(bus, HASHES, 7, timeout_s=0.4)


async def test_an_undecodable_answer_keeps_the_version(bus: Bus) -> None:
    async def garble(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"\xc1 no MessagePack")

    await bus.serve(subjects.USAGE, garble)
    await bus.flush()

    assert not await wait_unused(bus, HASHES, 1, timeout_s=0.1)


async def test_used_lately_is_the_sum_of_all_brokers(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather_both(bus, monkeypatch)
    await answer(bus, Usage(revision=7, hashes=HASHES))
    await answer(bus, Usage(revision=7, hashes=frozenset({"b" * 32})))

    assert await used_lately(bus, LONG_S) == frozenset({"a" * 32, "b" * 32})


async def test_used_lately_is_unknown_without_an_answer(bus: Bus) -> None:
    assert await used_lately(bus, LONG_S) is None
