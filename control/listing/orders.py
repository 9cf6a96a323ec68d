"""Orders of a list: which sorted index serves a sort and its filters, and which span of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from operator import attrgetter
from typing import Any

from control.listing.ordered_blocks import Key, KeyOf

Order = tuple[str, ...]
"""Names of fields; the items are sorted by the first, then by the second, and so on."""


def choose_order(
    orders: Iterable[Order], sort: Order, equal: Mapping[str, Any]
) -> tuple[Order, Key]:
    """Return the order in which the wanted items stand together, and the fields they begin with.

    Args:
        orders: The orders that are indexed; ``sort`` is one of them.
        sort: The wanted order.
        equal: Field name to the value that all wanted items have.
    """
    lead: Order = ()
    best = sort
    for order in orders:
        fixed = tuple(takewhile(equal.__contains__, order))
        is_sorted = order[len(fixed) :] == tuple(field for field in sort if field not in fixed)
        if is_sorted and len(fixed) > len(lead):
            lead, best = fixed, order
    return best, tuple(equal[field] for field in lead)


def key_function(order: Order, fields: Mapping[str, str]) -> KeyOf[Any]:
    """Return the function that returns the key of an item in an order.

    Args:
        order: The order.
        fields: Field name to the path of its attribute, such as ``record.name``.
    """
    paths = [fields[name] for name in order]
    get: Callable[[Any], Any] = attrgetter(*paths)
    # With several paths, it returns a tuple.
    return get if len(paths) > 1 else lambda item: (get(item),)
