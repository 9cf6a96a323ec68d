"""The requests to the pod runner that leads, on ``pods.wake.…``: start a pod, or name the pods.

``broker.dispatch.activation`` sends the first kind. The second kind finds out which pods may have
the events of a component version, when a connection was lost (``lost_requests`` and
``broker.dispatch.recovery``).
"""

from __future__ import annotations

from enum import Enum

import msgspec

from broker.nats.requester import Requester
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, NatsUnavailable, NoPodReady
from kubefox.senders import Sender

ROSTER_S = 1.0
"""Time for the answer that names the pods."""


class Wake(Enum):
    """State of a version, as the reconciler answers it."""

    AWAKE = "awake"
    """A pod is ready: send the event again."""
    WAKING = "waking"
    """A pod of an idle version starts: ask again."""
    RESTARTING = "restarting"
    """A pod starts, or starts again after it died: ask again until the hold is over."""
    NOT_IDLE = "not idle"
    """Waiting does not help: the version failed, was never ready, or cannot be started."""


class WakeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Asks the reconciler to wake a version.

    Attributes:
        target: Subject of the component version that has no pod.
        hashes: Hashes of the event's deployment, where the sender knows them: the versions that
            the target calls are woken too.
        names_pods: Whether to wake nothing, and answer only which pods may have its events.
    """

    target: str
    hashes: frozenset[str] = frozenset()
    names_pods: bool = False


class WakeReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reconciler's answer.

    Attributes:
        state: Of the version.
        pods: If that was the question, the ids of the pods that may have its events.
        since_us: Time of the platform in µs. Events that were sent later can be with no other pod.
    """

    state: Wake
    pods: tuple[str, ...] | None = None
    since_us: int = 0


encode_wake_request = msgspec.msgpack.Encoder().encode
decode_wake_reply = msgspec.msgpack.Decoder(WakeReply).decode


async def ask_roster(bus: Requester, sender: Sender, target: str) -> WakeReply | None:
    """Return the pods that may have events of a version, as the runner that leads knows them.

    Args:
        bus: Connection to use.
        sender: The process that asks.
        target: Subject of the component version.

    Returns:
        None if no runner that leads answers in time.
    """
    question = encode_wake_request(WakeRequest(target=target, names_pods=True))
    try:
        return decode_wake_reply(await bus.request(subjects.wake(sender), question, ROSTER_S))
    except (NoPodReady, DeadlineExceeded, NatsUnavailable, *DECODE_ERRORS):
        return None
