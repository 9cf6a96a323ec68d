"""The log of requests that are no valid HTTP: one line a second, without anything of the request.

aiohttp logs each of them with a traceback and with the line at fault, which may be the token. Every
program that reaches the port can send them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from aiohttp.http_exceptions import HttpProcessingError

LOG_EVERY_S = 1.0


class MalformedRequests(logging.Filter):
    """Shortens the records about malformed requests, and drops most of them.

    Args:
        now: Clock in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._unlogged = 0
        self._logged_at_s = -LOG_EVERY_S

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if not isinstance(error, HttpProcessingError):
            return True
        self._unlogged += 1
        now_s = self._now()
        if now_s - self._logged_at_s < LOG_EVERY_S:
            return False
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = "the control API refused malformed requests: %d, the last one from %s (%s)"
        address = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        record.args = (self._unlogged, address, type(error).__name__)
        record.exc_info = record.exc_text = None
        self._unlogged, self._logged_at_s = 0, now_s
        return True


def protocol_logger() -> logging.Logger:
    """Return the logger for a server of aiohttp."""
    logger = logging.getLogger(f"{__name__}.protocol")
    for old in tuple(logger.filters):
        logger.removeFilter(old)
    logger.addFilter(MalformedRequests())
    return logger
