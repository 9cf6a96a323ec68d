"""An event as JetStream delivers it: the reply subject tells what JetStream knows of it."""

from __future__ import annotations

from typing import NamedTuple

_ACK_TOKENS = 9
_TRAILING_TOKENS = 5


class StoredEvent(NamedTuple):
    """An event as JetStream delivers it.

    Attributes:
        subject: ``emit.<app>.<component>.<hash>``.
        frame: Frame of a ``kubefox.event.Event``, not decoded.
        sequence: Sequence number in the stream.
        deliveries: Number of deliveries, this one included.
        stored_at_s: Unix time at which it was stored.
    """

    subject: str
    frame: bytes
    sequence: int
    deliveries: int
    stored_at_s: float


def stored_event(subject: str, frame: bytes, reply: str) -> StoredEvent:
    """Return an event with the data of its reply subject.

    ``$JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<stored, ns>.
    <pending>``. With JetStream domains, two more tokens stand before the stream, and there may be
    one at the end (NATS ADR-15).
    """
    tokens = reply.split(".")
    start = _ACK_TOKENS - _TRAILING_TOKENS
    if len(tokens) != _ACK_TOKENS:
        start += 2
    deliveries, sequence, _, stored_ns, _ = tokens[start : start + _TRAILING_TOKENS]
    return StoredEvent(subject, frame, int(sequence), int(deliveries), int(stored_ns) / 1e9)
