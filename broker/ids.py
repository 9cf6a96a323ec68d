"""Ids of events, which are ids of OpenTelemetry at the same time: no other has to be made or sent.

An event's id is 32 random hex digits. That of a genesis event is the id of its trace, unless the
client began the trace; the second half of any event's id is that of the span in which it was sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_BYTES = 16
_DIGITS = 32
_SPAN_DIGITS = 16
_IDS_A_BLOCK = 128


def _random_ids() -> Iterator[str]:
    # From the kernel, a block at a time: a third of what random.getrandbits costs.
    while True:
        block = os.urandom(_BYTES * _IDS_A_BLOCK).hex()
        for at in range(0, len(block), _DIGITS):
            yield block[at : at + _DIGITS]


_ids = _random_ids()


def new_id() -> str:
    """Return 32 random hex digits."""
    return next(_ids)


def span_of(event_id: str) -> str:
    """Return the id of the span in which an event was sent: 16 hex digits."""
    return event_id[_SPAN_DIGITS:]
