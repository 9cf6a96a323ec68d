"""Structured logging for components: ``ctx.log.info("placed", order=id)``."""

from __future__ import annotations

import logging
import sys


class EventLogger:
    """A logger that takes fields as keyword arguments; see ``Context.log``.

    Each line carries the given fields, and those of the event: its id, deployment, virtual
    environment and trace. ``fox logs`` shows and filters them.

    Args:
        name: Name of the ``logging`` logger that writes the lines.

    Example:
        >>> ctx.log.info("order placed", order=7, items=3)
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, /, **fields: object) -> None:
        """Log a detail for the developers of the component."""
        self._logger.debug(message, extra={"fields": fields})

    def info(self, message: str, /, **fields: object) -> None:
        """Log normal operation."""
        self._logger.info(message, extra={"fields": fields})

    def warning(self, message: str, /, **fields: object) -> None:
        """Log a condition that an operator should examine."""
        self._logger.warning(message, extra={"fields": fields})

    def error(self, message: str, /, **fields: object) -> None:
        """Log a failure."""
        self._logger.error(message, extra={"fields": fields})

    def exception(self, message: str, /, **fields: object) -> None:
        """Log a failure, with the traceback of the exception that is being handled."""
        self._logger.error(message, exc_info=sys.exception(), extra={"fields": fields})
