"""Structured logging for authors: ``ctx.log.info("placed", order=id)``."""

from __future__ import annotations

import logging
import sys


class EventLogger:
    """A stdlib logger that takes fields as keywords.

    Args:
        name: Name of the stdlib logger below.
    """

    def __init__(self, name: str) -> None:
        """Open the stdlib logger."""
        self._logger = logging.getLogger(name)

    def debug(self, message: str, /, **fields: object) -> None:
        """Log what only a developer of the component wants to see."""
        self._logger.debug(message, extra={"fields": fields})

    def info(self, message: str, /, **fields: object) -> None:
        """Log what an operator may want to see."""
        self._logger.info(message, extra={"fields": fields})

    def warning(self, message: str, /, **fields: object) -> None:
        """Log what an operator should look at."""
        self._logger.warning(message, extra={"fields": fields})

    def error(self, message: str, /, **fields: object) -> None:
        """Log a failure."""
        self._logger.error(message, extra={"fields": fields})

    def exception(self, message: str, /, **fields: object) -> None:
        """Log a failure with the traceback of the exception being handled."""
        self._logger.error(message, exc_info=sys.exception(), extra={"fields": fields})
