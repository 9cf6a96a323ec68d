"""The options of the handlers of one component: time limits, cancellation, and streamed bodies."""

from __future__ import annotations

import inspect
import math
from collections.abc import Hashable
from typing import NamedTuple

from kubefox.errors import InvalidRequest
from kubefox.event import NO_ROUTE


class HandlerKey(NamedTuple):
    """The handler of a schedule, a route, or with ``NO_ROUTE`` the default handler."""

    is_scheduled: bool
    number: int


DEFAULT_HANDLER = HandlerKey(is_scheduled=False, number=NO_ROUTE)


class HandlerOptions:
    """The options of all handlers.

    Attributes:
        has_time_limits: Whether any handler has a time limit of its own.
    """

    def __init__(self) -> None:
        self.has_time_limits = False
        self._time_limits: dict[HandlerKey, float] = {}
        self._cancellations: dict[HandlerKey, bool] = {}
        self._streaming: set[Hashable] = set()

    def declare(
        self,
        key: HandlerKey,
        handler: Hashable,
        *,
        timeout_s: float | None = None,
        cancels: bool | None = None,
        streams: bool = False,
    ) -> None:
        """Declare the options of a handler; see ``Kit.route``.

        Raises:
            InvalidRequest: The handler is not an async function, or the time limit is not above 0.
        """
        _check_async(handler)
        if timeout_s is not None:
            if not 0 < timeout_s < math.inf:
                raise InvalidRequest(f"timeout_s={timeout_s!r}: expected seconds above 0")
            self._time_limits[key] = timeout_s
            self.has_time_limits = True
        if cancels is not None:
            self._cancellations[key] = cancels
        if streams:
            self._streaming.add(handler)

    def time_limit_s(self, key: HandlerKey) -> float | None:
        """Return the time limit of a handler; None without one."""
        return self._time_limits.get(key)

    def cancels(self, key: HandlerKey) -> bool | None:
        """Return whether a handler ends when its client has gone; None if its method decides."""
        return self._cancellations.get(key)

    def streams_body(self, handler: Hashable) -> bool:
        """Return whether a handler reads the body as a stream."""
        return handler in self._streaming


def _check_async(handler: Hashable) -> None:
    # Other callables may return an awaitable too: functools.partial, methods, objects.
    if inspect.isfunction(handler) and not inspect.iscoroutinefunction(handler):
        name = handler.__name__
        raise InvalidRequest(f"handler {name} is not async: declare it with async def")
