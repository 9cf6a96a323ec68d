"""Waking a component version without a pod: wait until a pod is ready for an event.

The reconciler stops the pods of idle versions, and restarts pods that died. Only the reconciler
that leads can tell whether a version without a pod is idle, restarts or has failed; it answers on
``pods.wake.…``. It answers within ``ANSWER_S`` and is asked again while a pod starts, so a
reconciler that is gone delays an event by one question only. For a version that has failed, the
event fails with the NoPodReady that it would have had without the question.

In a NATS cluster, pods and their reconciler may be cut off together while the server hangs that
they are connected to. So an event whose question is not answered is sent again within the hold: its
pods may be back. An event to an adapter is sent again in the same way, without a question.
"""

from __future__ import annotations

import asyncio
import time

from broker.nats.requester import BodyRequester
from broker.nats.wake_requests import Wake, WakeRequest, decode_wake_reply, encode_wake_request
from broker.runtime.platform_clock import clock
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, NoPodReady
from kubefox.event import Event
from kubefox.senders import PLATFORM, Sender

ANSWER_S = 1.0
TAKE_OVER_S = 0.1
"""Without a reconciler that leads, a sender asks once more after so long, and again in the hold."""
NO_LEADER_S = 1.5
"""Within the hold, how long a sender asks for a reconciler that leads: a killed one is replaced
within about a second."""
# In ``fox up`` the reconciler shares its event loop with all other parts.
ANSWER_TIMEOUT_S = 3 * ANSWER_S


async def wake(
    bus: BodyRequester,
    target: str,
    event: Event,
    hashes: frozenset[str] = frozenset(),
    *,
    sender: Sender = PLATFORM,
    hold_end_s: float = 0,
    answer_timeout_s: float = ANSWER_TIMEOUT_S,
) -> bool:
    """Wake a component version that has no pod, and return whether a pod may be ready now.

    Args:
        bus: Connection to use.
        target: Subject of the version, or of an adapter, which is never idle.
        event: Its deadline bounds the waiting.
        hashes: See ``WakeRequest``.
        sender: The process that asks.
        hold_end_s: Until when to wait for a pod that restarts, or to ask again when the reconciler
            that leads has ended or does not answer (``time.monotonic``).
        answer_timeout_s: Time for one answer; without an answer the version counts as not idle.

    Raises:
        DeadlineExceeded: The event's deadline passed before a pod was ready.
        NatsUnavailable: The connection went down.
    """
    if not subjects.is_component(target):
        is_held = bus.is_clustered and time.monotonic() < hold_end_s
        return is_held and bool(_remaining_s(event, target))
    question = subjects.wake(sender), encode_wake_request(WakeRequest(target=target, hashes=hashes))
    state: Wake | None = Wake.WAKING
    is_unanswered = False
    while state is Wake.WAKING or (
        state in {Wake.RESTARTING, None} and time.monotonic() < hold_end_s
    ):
        remaining_s = _remaining_s(event, target)
        timeout_s = min(remaining_s, answer_timeout_s)
        state = await _ask(bus, question, timeout_s, hold_end_s)
        if state is None and timeout_s == remaining_s:
            # Timers of uvloop count milliseconds and may end before the wall clock's deadline.
            raise _deadline_exceeded(target)
        if state is None:
            # The reconciler may have died with the question: ask the one that leads now, once.
            if is_unanswered:
                break
            is_unanswered, answer_timeout_s = True, answer_timeout_s / 2
    # Check the deadline once more: an expired event is not sent again.
    remaining_s = _remaining_s(event, target)
    may_be_back = state is None and bus.is_clustered and time.monotonic() < hold_end_s
    return (state is Wake.AWAKE or may_be_back) and bool(remaining_s)


async def _ask(
    bus: BodyRequester, question: tuple[str, bytes], timeout_s: float, hold_end_s: float
) -> Wake | None:
    """Return the answer of the reconciler that leads, None if it does not answer.

    Args:
        bus: Connection to use.
        question: Subject and payload.
        timeout_s: Time for the answer.
        hold_end_s: See ``wake``.
    """
    end_s = min(hold_end_s, time.monotonic() + min(NO_LEADER_S, timeout_s))
    is_last = False
    while True:
        try:
            answer = await bus.request(*question, timeout_s)
            return decode_wake_reply(answer).state
        except NoPodReady:
            # No reconciler leads: perhaps one takes over at this moment.
            if is_last:
                return Wake.NOT_IDLE
            is_last = time.monotonic() >= end_s
            await asyncio.sleep(TAKE_OVER_S)
            if bus.is_clustered:
                return None
        except DeadlineExceeded:
            return None
        except DECODE_ERRORS:
            return Wake.NOT_IDLE


def _remaining_s(event: Event, target: str) -> float:
    remaining_s = event.remaining_s(clock.now_s())
    if not remaining_s:
        raise _deadline_exceeded(target)
    return remaining_s


def _deadline_exceeded(target: str) -> DeadlineExceeded:
    hop = subjects.hop(target)
    return DeadlineExceeded(f"time ran out while a pod of {hop} was started", hop=hop)
