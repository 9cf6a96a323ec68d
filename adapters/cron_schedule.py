"""When ticks are due. Pure: the clock is an argument, so that tests can let years pass.

All times are Unix times in whole seconds, UTC. ``@every <n>s`` counts from the epoch, not from
when somebody began to look: so all cron adapters agree on the times, and on the claim of each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import UTC, datetime
from math import floor
from typing import Generic, TypeVar

from cronsim import CronSim, CronSimError

from model.errors import InvalidRequest

TOLERANCE_S = 5
"""A tick that is later than this is not made up: who wants it has lived without it."""

_EVERY = re.compile(r"@every ([1-9][0-9]{0,8})s")
_CRON_FIELDS = 5
_EPOCH = datetime.fromtimestamp(0, UTC)

NextTick = Callable[[float], int | None]
"""Returns the first time after the given one; None when there is none any more."""

Key = TypeVar("Key", bound=Hashable)


def parse(expression: str) -> NextTick:
    """Return the function that tells an expression's next time.

    Args:
        expression: Five-field cron expression in UTC, or ``@every <seconds>s``.

    Raises:
        InvalidRequest: It is neither.
    """
    if found := _EVERY.fullmatch(expression):
        return _every(int(found[1]))
    # CronSim takes a sixth field, for seconds, in front.
    if len(expression.split()) != _CRON_FIELDS:
        raise _invalid(expression, "Wrong number of fields")
    try:
        CronSim(expression, _EPOCH)
    except CronSimError as error:
        raise _invalid(expression, error) from error
    return _cron(expression)


def is_late(tick_s: int, now_s: float) -> bool:
    """Return whether it is too late to run a tick."""
    return tick_s < now_s - TOLERANCE_S


class Agenda(Generic[Key]):
    """The next tick of every schedule."""

    def __init__(self) -> None:
        """Start with no schedule."""
        self._next_tick: dict[Key, NextTick] = {}
        self._due_s: dict[Key, int] = {}

    @property
    def next_due_s(self) -> int | None:
        """When the next tick is due; None when none ever is."""
        return min(self._due_s.values(), default=None)

    def follow(self, wanted: Mapping[Key, NextTick], since_s: float) -> None:
        """Make ``wanted`` the schedules that are followed.

        Args:
            wanted: By a key that is equal as long as the times are.
            since_s: Ticks of a schedule that was not followed before count from here; one that
                was keeps its next tick.
        """
        for key in self._next_tick.keys() - wanted.keys():
            del self._next_tick[key]
            self._due_s.pop(key, None)
        for key in wanted.keys() - self._next_tick.keys():
            self._next_tick[key] = wanted[key]
            self._advance(key, since_s)

    def take_due(self, now_s: float) -> dict[Key, list[int]]:
        """Return the ticks that came due by ``now_s`` since the last call, oldest first.

        Those over TOLERANCE_S late are left out.
        """
        keys = [key for key, due_s in self._due_s.items() if due_s <= now_s]
        taken = {key: list(self._ticks_until(key, now_s)) for key in keys}
        return {key: ticks for key, ticks in taken.items() if ticks}

    def _ticks_until(self, key: Key, now_s: float) -> Iterator[int]:
        if is_late(self._due_s[key], now_s):
            # Not one by one: an adapter may wake after a night with a tick a second behind it.
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
        f"schedule {expression!r} is not valid ({reason}): expected five cron fields in UTC, or "
        "@every <seconds>s"
    )
