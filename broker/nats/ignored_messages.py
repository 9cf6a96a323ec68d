"""Messages that are ignored: counted, and logged once a second however many there are.

They cannot be read, or they claim to be of a sender that has not sent them.

Everybody who may publish to a subject can send anything to its receivers. A log line with a
traceback for each such message would fill the disk and take the time of the event loop.
"""

from __future__ import annotations

import asyncio
import logging

from kubefox import printable
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent

logger = logging.getLogger(__name__)

LOG_EVERY_S = 1.0
MALFORMED: tuple[type[Exception], ...] = (InvalidEvent, *DECODE_ERRORS)
"""The errors of a receiver that cannot read a message."""


class IgnoredMessages:
    """The messages that one process has received and ignored for one reason.

    Args:
        what: The reason, an adjective for log lines.

    Attributes:
        count: Number of them since the start of the process.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.count = 0
        self._logged = 0
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def note(self, subject: str, error: Exception) -> None:
        """Count a message; a log line follows within a second.

        Args:
            subject: Where it was received.
            error: Why it is ignored.
        """
        self.count += 1
        self._last = f"the last one on {subject}: {printable.shortened(str(error))}"
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_EVERY_S, self.log)

    def log(self) -> None:
        """Log how many were noted since the last line, if any."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        new, self._logged = self.count - self._logged, self.count
        if new:
            logger.warning(
                "%d %s %s ignored, %s",
                new,
                self._what,
                "message was" if new == 1 else "messages were",
                printable.one_line(self._last),
            )
