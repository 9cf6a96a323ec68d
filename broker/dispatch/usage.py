"""Usage of component versions: every broker reports the versions that its events may need.

A request uses one snapshot to its end, so a request that began earlier may still call a version
that the newest data no longer has. Only the broker of that request can report it. Events emitted
to a version wait in the stream under the version's subject.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from broker.events.outbox import pending_events
from broker.nats.bus import Bus
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import NatsUnavailable

# Time for brokers to answer one request; a broker that is alive takes about a millisecond.
_GATHER_S = 0.25
_MAX_PAUSE_S = 5.0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One broker's answer on ``broker.usage``.

    The request is a number of seconds in MessagePack; an empty payload is 0 seconds.

    Attributes:
        revision: Revision of the snapshot by which the broker routes new requests.
        hashes: Component versions of the deployments of all requests in flight, and of those that
            began within the requested seconds.
        keys: Ids of the platform's keys that the process knows.
        keys_in_use: Ids of the keys that sealed the contexts of its requests in flight.
    """

    revision: int
    hashes: frozenset[str]
    keys: frozenset[str] = frozenset()
    keys_in_use: frozenset[str] = frozenset()


_decode = msgspec.msgpack.Decoder(Usage).decode
_encode_s = msgspec.msgpack.Encoder().encode
_decode_s = msgspec.msgpack.Decoder(float).decode


def read_usage_request_s(payload: bytes) -> float:
    """Return the seconds of a request for usage."""
    return _decode_s(payload) if payload else 0


async def ask_usage(bus: Bus) -> list[Usage] | None:
    """Return the answers of all brokers that answer in time; None if none of them does.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    asked_at_s = time.monotonic()
    answers = []
    for payload in await bus.gather(subjects.USAGE, b"", _GATHER_S):
        with contextlib.suppress(*DECODE_ERRORS):
            answers.append(_decode(payload))
    # Without any broker the bus reports it at once.
    is_silent = not answers and time.monotonic() - asked_at_s >= _GATHER_S / 2
    return None if is_silent else answers


async def used_lately(bus: Bus, within_s: float) -> frozenset[str] | None:
    """Return the hashes that any broker has used within the last ``within_s`` seconds.

    Returns:
        None without any answer: then nothing is known. A broker that is too busy to answer in time
        is left out; a version that it uses is woken when it is needed.
    """
    try:
        answers = await bus.gather(subjects.USAGE, _encode_s(within_s), _GATHER_S)
        used = [_decode(answer).hashes for answer in answers]
    except (NatsUnavailable, *DECODE_ERRORS):
        return None
    return frozenset().union(*used) if used else None


async def wait_unused(
    bus: Bus,
    hashes: frozenset[str],
    revision: int,
    timeout_s: float,
    *,
    events_timeout_s: float | None = None,
) -> bool:
    """Wait until no broker and no emitted event can need ``hashes``.

    Args:
        bus: Connection to use.
        hashes: Versions that the data no longer has.
        revision: First revision of the data without them.
        timeout_s: Longest life of a request; after it no request needs the versions.
        events_timeout_s: Further time for which emitted events may need the versions. None is as
            long as they wait: at most until they are given up because of their age.

    Returns:
        True if all brokers and the stream of events confirm it; False if time ran out.
    """
    is_unused = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not await _is_unused(bus, hashes, revision):
                pass  # each request takes its time
        is_unused = True
    try:
        async with asyncio.timeout(events_timeout_s):
            await _wait_no_events(bus, hashes, gives_up=not is_unused)
    except (TimeoutError, NatsUnavailable):
        return False
    return is_unused


async def _wait_no_events(bus: Bus, hashes: frozenset[str], *, gives_up: bool) -> None:
    """Return when no event waits for ``hashes``.

    Raises:
        NatsUnavailable: NATS does not answer, and ``gives_up``.
    """
    pause_s = _GATHER_S
    while True:
        try:
            if not any([await pending_events(bus, digest) for digest in hashes]):
                return
        except NatsUnavailable:
            if gives_up:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _MAX_PAUSE_S)


async def _is_unused(bus: Bus, hashes: frozenset[str], revision: int) -> bool:
    requested_at_s = time.monotonic()
    try:
        payloads = await bus.gather(subjects.USAGE, b"", _GATHER_S)
        answers = [_decode(payload) for payload in payloads]
    except (NatsUnavailable, *DECODE_ERRORS):
        await asyncio.sleep(_GATHER_S)
        return False
    if not answers:
        # Without any broker the bus reports it at once. Silence for the whole time is different:
        # the connection may be lost, or all brokers too busy to answer.
        return time.monotonic() - requested_at_s < _GATHER_S / 2
    return all(
        answer.revision >= revision and hashes.isdisjoint(answer.hashes) for answer in answers
    )
