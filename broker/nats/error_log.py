"""Log lines for the errors that nats-py reports, without a flood of equal ones."""

from __future__ import annotations

import logging
import time

from nats.errors import SlowConsumerError

logger = logging.getLogger(__name__)

REPEAT_S = 5.0


class ErrorLog:
    """Logs errors of one connection; nats-py reports ten a second while no server answers.

    Args:
        repeat_s: An equal error is logged again only after this time.
    """

    def __init__(self, repeat_s: float = REPEAT_S) -> None:
        self._repeat_s = repeat_s
        self._logged_at_s: dict[str, float] = {}

    async def report(self, error: Exception) -> None:
        """Log an error, unless an equal one was logged a moment ago."""
        text, level = f"NATS: {error or type(error).__name__}", logging.WARNING
        if isinstance(error, SlowConsumerError):
            text = f"messages on {error.subject} were lost: the receiver is too slow"
            level = logging.ERROR
        now_s = time.monotonic()
        self._logged_at_s = {
            logged: at_s
            for logged, at_s in self._logged_at_s.items()
            if now_s - at_s < self._repeat_s
        }
        if text not in self._logged_at_s:
            self._logged_at_s[text] = now_s
            logger.log(level, "%s", text)
