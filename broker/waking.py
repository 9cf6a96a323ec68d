"""Waking a component version that sleeps, for who has just been told that no pod of it is there.

Only the reconciler knows whether a version sleeps, has died, or is about to be ready for the first
time; the one that leads answers on ``pods.wake``. It answers within ``ANSWER_S`` whatever happens,
and is asked again while a pod starts. So nobody waits for a reconciler that is gone, and what does
not sleep fails as it always did, one question later.
"""

from __future__ import annotations

import time
from enum import Enum
from typing import Protocol

import msgspec

from broker.stream import Outgoing
from model import subjects
from model.decoding import UNREADABLE
from model.errors import DeadlineExceeded, NoPodReady
from model.event import Event

ANSWER_S = 1.0
# A reconciler shares its loop with much else in ``fox up``.
_PATIENCE_S = 3 * ANSWER_S


class Wake(Enum):
    """What the reconciler says of a version."""

    AWAKE = "awake"
    """A pod is ready: send the event again."""
    WAKING = "waking"
    """One starts: ask again."""
    NOT_ASLEEP = "not asleep"
    """Nothing that waiting would help: it has died, was never ready, or cannot be started."""


class WakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The question.

    Attributes:
        target: The subject that nobody listened to.
        hashes: Of the event's deployment, where they are known: those that the target calls are
            woken with it.
    """

    target: str
    hashes: frozenset[str] = frozenset()


class WakeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    state: Wake


class Asker(Protocol):
    """Sends one frame and brings one back; ``broker.bus.Bus`` is the real one."""

    async def request(
        self, subject: str, payload: bytes, timeout_s: float, body: Outgoing | None = None
    ) -> bytes:
        """Return the reply's frame; raise the FoxError that stopped it."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WakeReply).decode


async def send_awake(
    bus: Asker,
    target: str,
    event: Event,
    frame: bytes,
    failure: NoPodReady,
    *,
    hashes: frozenset[str] = frozenset(),
    body: Outgoing | None = None,
) -> bytes:
    """Send an event again that found no pod, once its component version is awake.

    Args:
        bus: Connection to use.
        target: Where the event was sent.
        event: Whose deadline bounds all of it.
        frame: The event as it travels.
        failure: That nobody listened.
        hashes: See ``WakeRequest``.
        body: Of the event, if it comes as a stream.

    Returns:
        The reply's frame.

    Raises:
        NoPodReady: ``failure``, if the version does not sleep.
        FoxError: Whatever else stopped it; see ``wake``, and ``Bus.request``.
    """
    if not await wake(bus, target, event, hashes):
        raise failure
    return await bus.request(target, frame, event.remaining_s(time.time()), body)


async def wake(bus: Asker, target: str, event: Event, hashes: frozenset[str] = frozenset()) -> bool:
    """Return whether to send an event again that found no pod; a pod is ready then.

    Args:
        bus: Connection to ask on.
        target: Where the event was sent; what is no component never sleeps.
        event: Whose deadline bounds the waiting.
        hashes: See ``WakeRequest``.

    Raises:
        DeadlineExceeded: The event's time ran out before a pod was ready.
        NatsUnavailable: The connection went down.
    """
    if not subjects.is_component(target):
        return False
    question = _encode(WakeRequest(target=target, hashes=hashes))
    state = Wake.WAKING
    while state is Wake.WAKING:
        state = await _ask(bus, question, _remaining_s(event, target))
    # Now and not later: at the deadline nothing is sent any more.
    return state is Wake.AWAKE and bool(_remaining_s(event, target))


async def _ask(bus: Asker, question: bytes, remaining_s: float) -> Wake:
    try:
        answer = await bus.request(subjects.PODS_WAKE, question, min(remaining_s, _PATIENCE_S))
        return _decode(answer).state
    except DeadlineExceeded:
        # Of the event, then the next question tells; or the reconciler has hung or died.
        return Wake.WAKING if remaining_s <= _PATIENCE_S else Wake.NOT_ASLEEP
    except (NoPodReady, *UNREADABLE):
        # Nobody lets pods sleep here, or nobody does at this moment.
        return Wake.NOT_ASLEEP


def _remaining_s(event: Event, target: str) -> float:
    remaining_s = event.remaining_s(time.time())
    if not remaining_s:
        hop = subjects.hop(target)
        raise DeadlineExceeded(f"time ran out while a pod of {hop} was started", hop=hop)
    return remaining_s
