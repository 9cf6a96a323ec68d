"""The bytes that are on their way to a process: granted to its streams, and not arrived yet.

They wait in one connection, and the answers of all others behind them. A thousand streams with the
smallest window have 32 MB on their way, and each answer then waits for 100 ms. So the bytes on
their way are shared fairly by lanes, and the streams of a lane get credit in turn. This does no
I/O and reads no clock.
"""

from __future__ import annotations

from typing import Protocol

from broker.runtime.fair_share import FairShare, Lane

TRANSIT_BYTES = 2 << 20
"""Most bytes on their way for one lane; a window of a stream is half of it."""
TURN_BYTES = 32 * 1024
"""Most credit that a stream gets in one turn, while others wait for theirs."""
FIRST_BYTES = 8 * 1024
"""The same for a stream that has not begun: many have little to send."""
UNUSED_S = 0.1
"""Credit that is unused for so long is not on its way: the sender has nothing to send."""
MOST_FREED = 64
"""Streams whose unused credit is freed in one turn of the loop; many may be due at once."""
_MOST_LOOKED_AT = 4
"""Lanes without room that are looked at before the others wait for the next arrival."""


class GrantedStream(Protocol):
    """A stream that receives.

    Attributes:
        lane: Deployment and virtual environment.
        transit_bytes: Granted and not arrived, as far as it is counted; ``Transit`` sets it.
    """

    lane: Lane
    transit_bytes: int

    @property
    def wanted_bytes(self) -> int:
        """Credit that it needs now; 0 if it is over."""

    @property
    def has_credit_sent(self) -> bool:
        """Whether it has got credit before."""

    def send_credit(self, more_bytes: int) -> None:
        """Send credit to the other end."""


class Transit:
    """Gives credit to the streams of a process.

    Args:
        limit_bytes: Most bytes on their way for one lane; see ``FairShare``.
    """

    def __init__(self, limit_bytes: int = TRANSIT_BYTES) -> None:
        self._share = FairShare(limit_bytes)
        # Lanes in the order of their turns, with their waiting streams.
        self._waiting: dict[Lane, dict[GrantedStream, None]] = {}
        # Streams with bytes on their way, by the time of their last credit.
        self._granted_s: dict[GrantedStream, float] = {}

    @property
    def taken_bytes(self) -> int:
        """Bytes on their way."""
        return self._share.taken

    @property
    def is_used(self) -> bool:
        """Whether ``free_unused`` has something to do later."""
        return bool(self._granted_s)

    def ask(self, stream: GrantedStream, now_s: float) -> None:
        """Give a stream credit, now or in its turn.

        Args:
            stream: It wants credit.
            now_s: The time of any clock, the same for all calls.
        """
        wanted_bytes = stream.wanted_bytes
        if not self._waiting and self._share.try_take(stream.lane, wanted_bytes):
            self._grant(stream, wanted_bytes, now_s)
            return
        self._waiting.setdefault(stream.lane, {})[stream] = None
        self._give_turns(now_s)

    def arrive(self, stream: GrantedStream, size_bytes: int, now_s: float) -> None:
        """Take into account that bytes have arrived."""
        arrived_bytes = min(size_bytes, stream.transit_bytes)
        if not arrived_bytes:
            return
        stream.transit_bytes -= arrived_bytes
        if not stream.transit_bytes:
            del self._granted_s[stream]
        self._share.release(stream.lane, arrived_bytes)
        if self._waiting:
            self._give_turns(now_s)

    def forget(self, stream: GrantedStream, now_s: float) -> None:
        """Give no more credit to a stream, which is over."""
        own = self._waiting.get(stream.lane)
        if own is not None and stream in own:
            del own[stream]
            if not own:
                del self._waiting[stream.lane]
        self.arrive(stream, stream.transit_bytes, now_s)

    def free_unused(self, now_s: float) -> bool:
        """Count credit that is unused for some time no more; return whether more of it is due."""
        for _ in range(MOST_FREED):
            if not self._is_due(now_s):
                return False
            stream = next(iter(self._granted_s))
            self.arrive(stream, stream.transit_bytes, now_s)
        return self._is_due(now_s)

    def _is_due(self, now_s: float) -> bool:
        """Return whether the oldest credit is unused for some time."""
        granted_s = next(iter(self._granted_s.values()), now_s)
        return now_s - granted_s >= UNUSED_S

    def _give_turns(self, now_s: float) -> None:
        without_room = 0
        while self._waiting and without_room < _MOST_LOOKED_AT:
            lane = next(iter(self._waiting))
            own = self._waiting.pop(lane)
            stream = next(iter(own))
            most_bytes = TURN_BYTES if stream.has_credit_sent else FIRST_BYTES
            more_bytes = min(stream.wanted_bytes, most_bytes)
            has_room = self._share.try_take(lane, more_bytes)
            if has_room:
                del own[stream]
            else:
                without_room += 1
            if own:
                # The lane's next turn comes after those of the others.
                self._waiting[lane] = own
            if has_room:
                self._grant(stream, more_bytes, now_s)

    def _grant(self, stream: GrantedStream, more_bytes: int, now_s: float) -> None:
        stream.transit_bytes += more_bytes
        self._granted_s.pop(stream, None)
        self._granted_s[stream] = now_s
        stream.send_credit(more_bytes)
