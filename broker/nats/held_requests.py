"""A pod's report on a requester's events: those that it holds, and those that it has answered.

A requester asks all pods of a component version for some events after a connection was lost
(``lost_requests`` and ``broker.dispatch.recovery``), on the subject that they all serve. When a pod
has died, it asks each other pod for all of its events (``gone_pods``).
"""

from __future__ import annotations

import msgspec

Replies = tuple[str, ...]
"""Reply subjects, which name the events of a requester."""


class HeldRequests(msgspec.Struct, frozen=True, kw_only=True):
    """A pod's answer.

    Attributes:
        pod: Id of the pod.
        held: The requester's events that it has accepted and not answered; if events are in
            question, those of them.
        answered: Those of the events in question that it has answered. It has just sent the answers
            again that it still has.
        known_since_us: Time of the platform in µs. Of events that were sent before, the pod does
            not know whether it has answered them.
    """

    pod: str = ""
    held: Replies = ()
    answered: Replies = ()
    known_since_us: int = 0


encode_held = msgspec.msgpack.Encoder().encode
decode_held = msgspec.msgpack.Decoder(HeldRequests).decode
encode_question = msgspec.msgpack.Encoder().encode
_decode_question = msgspec.msgpack.Decoder(Replies).decode


def decode_question(payload: bytes) -> Replies:
    """Return the events in question; none for an empty payload.

    Raises:
        DECODE_ERRORS: The payload is invalid; see ``kubefox.decoding``.
    """
    return _decode_question(payload) if payload else ()
