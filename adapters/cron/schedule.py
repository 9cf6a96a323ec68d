"""Due times of ticks. Pure: the time is an argument, so that tests can cover years.

All times are Unix times in whole seconds, UTC. ``@every <n>s`` counts from the epoch, not from the
start of the process, so that all cron adapters agree on the times and on their claims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import UTC, datetime
from math import floor
from typing import Generic, TypeVar

from cronsim import CronSim, CronSimError

from kubefox.errors import InvalidRequest

TOLERANCE_S = 5
"""A tick that is later than this is skipped."""

_EVERY = re.compile(r"@every ([1-9][0-9]{0,8})s")
_CRON_FIELDS = 5
_EPOCH = datetime.fromtimestamp(0, UTC)

NextTick = Callable[[float], int | None]
"""Returns the first due time after the given time, or None."""

Key = TypeVar("Key", bound=Hashable)


def parse(expression: str) -> NextTick:
    """Return the function that computes the due times of an expression.

    Args:
        expression: Five-field cron expression in UTC, or ``@every <seconds>s``.

    Raises:
        InvalidRequest: The expression is neither.
    """
    if found := _EVERY.fullmatch(expression):
        return _every(int(found[1]))
    # CronSim also accepts six fields, the first one for seconds.
    if len(expression.split()) != _CRON_FIELDS:
        raise _invalid(expression, "Wrong number of fields")
    try:
        CronSim(expression, _EPOCH)
    except CronSimError as error:
        raise _invalid(expression, error) from error
    return _cron(expression)


def is_late(tick_s: int, now_s: float) -> bool:
    """Return whether a tick is over the tolerance, so that it is skipped."""
    return tick_s < now_s - TOLERANCE_S


class TickQueue(Generic[Key]):
    """The next tick of every schedule."""

    def __init__(self) -> None:
        self._next_tick: dict[Key, NextTick] = {}
        self._due_s: dict[Key, int] = {}

    @property
    def next_due_s(self) -> int | None:
        """Time at which the next tick is due, or None."""
        return min(self._due_s.values(), default=None)

    def replace(self, wanted: Mapping[Key, NextTick], since_s: float) -> None:
        """Replace the schedules.

        Args:
            wanted: The schedules, each by a key that changes when its times do.
            since_s: Time from which the ticks of a new schedule count. A schedule that was in the
                queue before keeps its next tick.
        """
        for key in self._next_tick.keys() - wanted.keys():
            del self._next_tick[key]
            self._due_s.pop(key, None)
        for key in wanted.keys() - self._next_tick.keys():
            self._next_tick[key] = wanted[key]
            self._advance(key, since_s)

    def restart(self, since_s: float) -> None:
        """Compute the next tick of each schedule anew, after the clock was set back."""
        for key in self._next_tick:
            self._advance(key, since_s)

    def pop_due(self, now_s: float) -> dict[Key, list[int]]:
        """Remove and return the ticks that are due at ``now_s``, the oldest first.

        Ticks that are late by more than TOLERANCE_S are left out.
        """
        keys = [key for key, due_s in self._due_s.items() if due_s <= now_s]
        due = {key: list(self._ticks_until(key, now_s)) for key in keys}
        return {key: ticks for key, ticks in due.items() if ticks}

    def _ticks_until(self, key: Key, now_s: float) -> Iterator[int]:
        if is_late(self._due_s[key], now_s):
            # Skip them in one step: a machine that has slept for a night may have one per second.
            self._advance(key, now_s - TOLERANCE_S - 1)
        while (tick_s := self._due_s.get(key)) is not None and tick_s <= now_s:
            self._advance(key, tick_s)
            if not is_late(tick_s, now_s):
                yield tick_s

    def _advance(self, key: Key, after_s: float) -> None:
        next_s = self._next_tick[key](after_s)
        if next_s is None:
            self._due_s.pop(key, None)
        else:
            self._due_s[key] = next_s


def _every(period_s: int) -> NextTick:
    return lambda after_s: (floor(after_s) // period_s + 1) * period_s


def _cron(expression: str) -> NextTick:
    def next_tick(after_s: float) -> int | None:
        after = datetime.fromtimestamp(floor(after_s), UTC)
        try:
            return int(next(CronSim(expression, after)).timestamp())
        except StopIteration:
            return None

    return next_tick


def _invalid(expression: str, reason: object) -> InvalidRequest:
    return InvalidRequest(
        f"schedule {expression!r} is not valid ({reason}): use five cron fields in UTC, or "
        "@every <seconds>s"
    )
