"""Ids of events, which are also ids of OpenTelemetry, so that no other id is made or sent.

An event's id is 32 hex digits. The id of a genesis event is the id of its trace, unless the client
started the trace. The second half of an event's id is the id of the span that sent it. The digits 9
to 16 are the number of the process that made the id, which has sent the event: so a process that
keeps a trace knows whom to tell, and no event carries a byte for it. All other digits are random.
"""

from __future__ import annotations

import os

_BYTES = 16
_DIGITS = 32
_PROCESS_AT = 4
_SPAN_DIGITS = 16
_IDS_A_BLOCK = 128
_PROCESS_BITS = (1 << 32) - 1

UNKNOWN_PROCESS = 0
DELIVERING_PROCESSES = 1
"""Stands for all processes that deliver emitted events: an emitter does not know which one will."""
_FIRST_PROCESS = 2


class EventIds:
    """Makes the ids of the events that one process sends.

    Attributes:
        process: Number of the process, 32 bits, random.
    """

    def __init__(self) -> None:
        self._block: list[str] = []
        self.process = UNKNOWN_PROCESS
        self.renew()

    def renew(self) -> None:
        """Take another number: a forked process must not make the same ids."""
        self._block.clear()
        self.process = max(_FIRST_PROCESS, int.from_bytes(os.urandom(4)))

    def new(self) -> str:
        """Return a new id; safe to call from any thread."""
        try:
            return self._block.pop()
        except IndexError:
            # A block at a time from the kernel costs a third of random.getrandbits.
            made = bytearray(os.urandom(_BYTES * _IDS_A_BLOCK))
            for at, byte in enumerate(self.process.to_bytes(4), start=_PROCESS_AT):
                made[at::_BYTES] = bytes((byte,)) * _IDS_A_BLOCK
            digits = made.hex()
            ids = [digits[start : start + _DIGITS] for start in range(0, len(digits), _DIGITS)]
            first = ids.pop()
            self._block.extend(ids)
            return first


PROCESS_IDS = EventIds()
"""Of this process."""
new_id = PROCESS_IDS.new
os.register_at_fork(after_in_child=PROCESS_IDS.renew)


def process_of(event_id: str) -> int:
    """Return the number of the process that sent an event.

    An id may be any text; then the number is that of no process.
    """
    try:
        return int(event_id[8:16], 16) & _PROCESS_BITS
    except ValueError:
        return UNKNOWN_PROCESS


def span_of(event_id: str) -> str:
    """Return the id of the span that sent an event: 16 hex digits."""
    return event_id[_SPAN_DIGITS:]
