"""Priority and ties: which of several routes that accept a request wins.

The order, from first to last criterion:

1. The explicit ``priority`` of the route: the higher one wins.
2. The length of the resolved rule: the longer one wins. Each ``{…}`` and list counts as ``{}``.
3. The time at which the release became active, then its id: the later one wins.
4. The names of component, route id, app and virtual environment: the first one in order wins.

Criteria 1 and 2 are the *rank*. Criterion 4 makes the answer the same in every process, in every
order of loading. Inside one deployment criterion 3 is equal, so ``order_in_table`` leaves it out.

Two routes *tie* if they have the same rank and always accept the same requests. A tie is not
ambiguous, because criteria 3 and 4 decide, but one of the routes never gets a request. Therefore
``routing.conflicts`` reports it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

from routing.language.predicates import Predicate
from routing.language.template import ResolvedValue, ResolvedValues
from routing.table.compiled_rule import Rule

Rank = tuple[int, int]
"""Explicit priority, then length of the resolved rule; the higher wins."""
Recency = tuple[float, str]
"""Unix time at which a release became active, then its id; the later wins."""
Names = tuple[str, int, str, str]
"""Component, route id, app and virtual environment; the first in sort order wins."""


class Contender(Protocol):
    """A route of some release that accepts a request."""

    @property
    def rank(self) -> Rank:
        """Rank with the values of its environment."""

    @property
    def recency(self) -> Recency:
        """Recency of its release."""

    @property
    def names(self) -> Names:
        """Names that decide last."""


AnyContender = TypeVar("AnyContender", bound=Contender)


def rank_of(priority: int, rule: Rule, values: ResolvedValues) -> Rank:
    """Return the rank that an environment's values give a route.

    Args:
        priority: The route's explicit priority.
        rule: The route's rule.
        values: Value of every variable that the rule uses.
    """
    return priority, rule.fixed_length + sum([_length(values[name]) for name in rule.counted])


def order_in_table(rank: Rank, component: str, route_id: int) -> tuple[int, int, str, int]:
    """Return the sort key of a route in one deployment; the smallest key wins."""
    priority, length = rank
    return -priority, -length, component, route_id


def wins_over(contender: Contender, other: Contender) -> bool:
    """Return whether a route wins over another one, perhaps of another release."""
    # Each criterion is computed only if the one before it is equal: a rank costs up to 1 µs.
    rank, other_rank = contender.rank, other.rank
    if rank != other_rank:
        return rank > other_rank
    if contender.recency != other.recency:
        return contender.recency > other.recency
    return contender.names < other.names


def best_first(contenders: Iterable[AnyContender]) -> list[AnyContender]:
    """Return routes of several releases in the order in which they win."""
    # Each sort keeps the earlier order among equals, so the last sort is the first criterion.
    ordered = sorted(contenders, key=lambda contender: contender.names)
    ordered.sort(key=lambda contender: contender.recency, reverse=True)
    ordered.sort(key=lambda contender: contender.rank, reverse=True)
    return ordered


def tie_key(rank: Rank, predicate: Predicate) -> Hashable:
    """Return a value that is equal for routes that tie.

    Predicates count as equal if they differ only in the order and repetition of operands and in the
    names of parameters.
    """
    return rank, predicate.equivalence()


def tie_key_for_any_values(priority: int, rule: Rule, predicate: Predicate) -> Hashable:
    """Return a value that is equal for routes that tie whatever the values of variables are.

    Args:
        priority: The route's explicit priority.
        rule: The route's rule.
        predicate: The rule resolved with a different value for each variable.
    """
    length = (rule.fixed_length, tuple(sorted(rule.counted)))
    return priority, length, predicate.equivalence()


def _length(value: ResolvedValue) -> int:
    return len("{}") if value.is_list else len(value.texts[0])
