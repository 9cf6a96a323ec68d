"""Ids of events, which are ids of OpenTelemetry at the same time: no other has to be made or sent.

An event's id is 32 random hex digits. That of a genesis event is the id of its trace, unless the
client began the trace; the second half of any event's id is that of the span in which it was sent.
"""

from __future__ import annotations

import os

_BYTES = 16
_DIGITS = 32
_SPAN_DIGITS = 16
_IDS_A_BLOCK = 128


_block: list[str] = []


def new_id() -> str:
    """Return 32 random hex digits; any thread may ask."""
    try:
        return _block.pop()
    except IndexError:
        # From the kernel, a block at a time: a third of what random.getrandbits costs.
        digits = os.urandom(_BYTES * _IDS_A_BLOCK).hex()
        made = [digits[at : at + _DIGITS] for at in range(0, len(digits), _DIGITS)]
        mine = made.pop()
        _block.extend(made)
        return mine


# A process that is forked off must not make the same ones.
os.register_at_fork(after_in_child=_block.clear)


def span_of(event_id: str) -> str:
    """Return the id of the span in which an event was sent: 16 hex digits."""
    return event_id[_SPAN_DIGITS:]
