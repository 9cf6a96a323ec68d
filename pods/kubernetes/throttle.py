"""Pauses for which an API server asks when it has too many calls."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from http import HTTPStatus

logger = logging.getLogger(__name__)

DEFAULT_S = 1.0
"""The pause if the API names none, or a date."""
MIN_S = 0.2
"""The shortest pause: a refused call must not be repeated at once, again and again."""
MAX_S = 30.0
"""The longest pause; the next call asks again."""

_SPREAD_S = 0.5


def retry_after_s(status: int, headers: Mapping[str, str]) -> float | None:
    """Return after how many seconds a refused call may be repeated; None if the API does not say.

    The API has not begun such a call, whatever its method.
    """
    text = headers.get("Retry-After")
    if status != HTTPStatus.TOO_MANY_REQUESTS and (
        status < HTTPStatus.INTERNAL_SERVER_ERROR or text is None
    ):
        return None
    if text is None or not text.isdecimal():
        return DEFAULT_S
    return min(max(float(text), MIN_S), MAX_S)


class Throttle:
    """Keeps calls waiting while an API server asks for that.

    Args:
        server: URL of the API, for the log.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._until_s = -math.inf

    def hold(self, pause_s: float) -> None:
        """Keep further calls waiting for so long."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._until_s + MAX_S:
            logger.warning(
                "%s has too many calls: those of this process wait for %g s", self._server, pause_s
            )
        self._until_s = max(self._until_s, now_s + pause_s)

    async def wait(self) -> None:
        """Return when a call may be made."""
        now_s = asyncio.get_running_loop().time()
        while (pause_s := self._until_s - now_s) > 0:
            # Else all that have waited would call at the same moment.
            await asyncio.sleep(pause_s + random.uniform(0, _SPREAD_S))  # noqa: S311
            now_s = asyncio.get_running_loop().time()
