"""Who needs a component version, or has used it lately: asked of every broker.

A request sees one snapshot to its end, so a version that the newest data no longer names may yet
be called by a request that began before. Only the broker that began it knows. Events that were
emitted to the version wait for it in the stream, which knows them by their subjects.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from broker.bus import Bus
from broker.outbox import events_for
from model import subjects
from model.decoding import UNREADABLE
from model.errors import NatsUnavailable

# How long brokers have to answer one question; those that are alive take about a millisecond.
_GATHER_S = 0.25
EVENTS_S = 600.0
"""How long emitted events may keep a version that nobody else needs; then they are dead letters.

All attempts of one take 235 s by default; what still waits then has nobody who delivers it.
"""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One broker's answer on ``broker.usage``.

    The question is a number of seconds in MessagePack; empty, it is none.

    Attributes:
        revision: Of the snapshot by which it routes new requests.
        hashes: Every component version of the deployments that its requests in flight use, or
            those that have begun within the seconds before the question.
    """

    revision: int
    hashes: frozenset[str]


_decode = msgspec.msgpack.Decoder(Usage).decode
_encode_s = msgspec.msgpack.Encoder().encode
_decode_s = msgspec.msgpack.Decoder(float).decode


def read_question_s(payload: bytes) -> float:
    """Return for how long back a broker is asked."""
    return _decode_s(payload) if payload else 0


async def used_lately(bus: Bus, within_s: float) -> frozenset[str] | None:
    """Return the hashes that any broker has used within a time.

    Returns:
        None when nobody answers: then nothing is known. A broker that is too busy to answer in
        time is passed over; what it uses is woken if need be.
    """
    try:
        answers = await bus.gather(subjects.USAGE, _encode_s(within_s), _GATHER_S)
        used = [_decode(each).hashes for each in answers]
    except (NatsUnavailable, *UNREADABLE):
        return None
    return frozenset().union(*used) if used else None


async def wait_unused(bus: Bus, hashes: frozenset[str], revision: int, timeout_s: float) -> bool:
    """Return as soon as no broker can send anything to ``hashes`` any more.

    Args:
        bus: Connection to ask on.
        hashes: Versions that the data names no longer.
        revision: The first one of the data that does not name them.
        timeout_s: How long a request may live: after it, none needs them. Emitted events may
            need them for ``EVENTS_S`` more.

    Returns:
        Whether every broker, and the stream of events, said so; False means that time ran out.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while not await _is_unused(bus, hashes, revision):
                pass  # the question itself takes its time
        async with asyncio.timeout(EVENTS_S):
            while await _has_events(bus, hashes):  # noqa: ASYNC110 - they lie in NATS
                await asyncio.sleep(_GATHER_S)
    except TimeoutError:
        return False
    return True


async def _has_events(bus: Bus, hashes: frozenset[str]) -> bool:
    try:
        return any([await events_for(bus, digest) for digest in hashes])
    except NatsUnavailable:
        return True


async def _is_unused(bus: Bus, hashes: frozenset[str], revision: int) -> bool:
    asked_at_s = time.monotonic()
    try:
        answers = [_decode(each) for each in await bus.gather(subjects.USAGE, b"", _GATHER_S)]
    except (NatsUnavailable, *UNREADABLE):
        await asyncio.sleep(_GATHER_S)
        return False
    if not answers:
        # That nobody listens is known at once. Silence is something else: the connection may
        # have just been lost, or every broker be too busy to answer.
        return time.monotonic() - asked_at_s < _GATHER_S / 2
    return all(each.revision >= revision and hashes.isdisjoint(each.hashes) for each in answers)
