"""A list of names for a message, cut so that it stays readable."""

from __future__ import annotations

from collections.abc import Collection
from heapq import nsmallest
from itertools import islice

MAX_LISTED = 10
_MAX_SORTED = 1_000


def listed(names: Collection[str], count: int | None = None) -> str:
    """Return up to ten names, and how many more there are.

    The names are the first ones in order if there are at most a thousand.

    Args:
        names: The names, in any order; perhaps only some of them.
        count: How many there are in all; None if ``names`` has all of them.
    """
    shown = nsmallest(MAX_LISTED, islice(names, _MAX_SORTED))
    more = (len(names) if count is None else count) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
