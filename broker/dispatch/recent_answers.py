"""The latest answers of a pod, to send them again if they were lost with a connection.

Only those to events that may not be handled twice: others are sent again by their senders. On a
single server nothing is kept, because all connections are lost together with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from broker.runtime.platform_clock import clock
from kubefox.http import is_idempotent

KEEP_S = 30.0
MOST_ANSWERS = 10_000
MOST_BYTES = 4 << 20
MOST_ANSWER_BYTES = 64 << 10
"""Of a longer answer, only the event is remembered."""
_US = 1_000_000


class RecentAnswers:
    """The answers of one receiver.

    Args:
        now_s: Returns the time of the platform.
        is_new: Whether no process has answered events under the id of this pod before. Otherwise
            what such a process has answered is not known.

    Attributes:
        known_since_us: See ``HeldRequests.known_since_us``.
    """

    def __init__(self, now_s: Callable[[], float] = clock.now_s, *, is_new: bool = False) -> None:
        self._now_s = now_s
        self.known_since_us = 0 if is_new else int(now_s() * _US)
        # Both by the reply subject, the oldest first.
        self._answered_us: OrderedDict[str, int] = OrderedDict()
        self._frames: OrderedDict[str, bytes] = OrderedDict()
        self._frame_bytes = 0

    def add(self, method: str, reply: str, frame: bytes) -> None:
        """Keep the answer to an event, if the event may not be handled twice.

        Args:
            method: Of the event.
            reply: Its reply subject.
            frame: The answer; empty if it cannot be sent again.
        """
        if is_idempotent(method) or not reply:
            return
        now_us = int(self._now_s() * _US)
        self._answered_us[reply] = now_us
        if 0 < len(frame) <= MOST_ANSWER_BYTES:
            self._frames[reply] = frame
            self._frame_bytes += len(frame)
        self._forget_old(now_us)

    def answers_to(self, replies: Iterable[str]) -> dict[str, bytes]:
        """Return those of some events that were answered, with the answers that are kept."""
        return {
            reply: self._frames.get(reply, b"") for reply in replies if reply in self._answered_us
        }

    def _forget_old(self, now_us: int) -> None:
        answered_us, oldest_us = self._answered_us, now_us - int(KEEP_S * _US)
        while len(answered_us) > MOST_ANSWERS or next(iter(answered_us.values())) < oldest_us:
            reply, self.known_since_us = answered_us.popitem(last=False)
            self._frame_bytes -= len(self._frames.pop(reply, b""))
        while self._frame_bytes > MOST_BYTES:
            _, frame = self._frames.popitem(last=False)
            self._frame_bytes -= len(frame)
