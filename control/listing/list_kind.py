"""Kinds of lists: their fields, sorts and filters, and the query parameters that all have."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, NamedTuple

import msgspec

from control.listing.ordered_blocks import Key, OrderedView, T
from control.listing.orders import Order
from kubefox.errors import InvalidRequest
from kubefox.formats import Continue, NamePrefix, Range, documented
from kubefox.grants import Target
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex

DEFAULT_LIMIT = 500
MAX_LIMIT = 10_000


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters of every list.

    Attributes:
        limit: Objects in the answer at most, 1 to 10,000. A page of large objects is shorter.
        continue_: Field ``continue`` of the page before; empty for the first page. The other
            parameters stay the same, except for ``limit``.
        sort: Field to sort by; ``-`` before it sorts descending.
        name_prefix: Only objects whose names begin with this.
    """

    limit: Annotated[int, documented(Range(minimum=1, maximum=MAX_LIMIT))] = DEFAULT_LIMIT
    continue_: Continue = msgspec.field(default="", name="continue")
    sort: str = ""
    name_prefix: NamePrefix = ""

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that are given, by parameter."""
        given = msgspec.structs.asdict(self)
        return {
            name: value
            for name, value in given.items()
            if name not in {"limit", "continue_", "sort"} and value not in {"", None}
        }


class ListView(NamedTuple, Generic[T]):
    """A list at one revision.

    Attributes:
        items: All objects of the kind.
        revision: Revision of all pages.
        snapshot: The control plane's records at the time of the view.
        usage: Index of the users of these records; None if the view is not the newest one, or if no
            filter needs it.
    """

    items: OrderedView[T]
    revision: int
    snapshot: Snapshot
    usage: UsageIndex | None = None


class Condition(NamedTuple, Generic[T]):
    """The objects that one filter selects.

    Attributes:
        matches: Returns whether an object is selected.
        beginnings: In the kind's first sort, the selected objects are those whose keys begin with
            one of these; None if that is not known.
    """

    matches: Callable[[T], bool]
    beginnings: Iterable[Key] | None = None


class ListKind(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One kind of list.

    Attributes:
        name: Name of the kind, such as ``deployments``.
        fields: Field name to the path of its attribute. A filter of this name selects the objects
            with an equal value. Each kind has the field ``name``.
        sorts: Value of ``sort`` to the order of fields; the first one is the default. The fields of
            an order together are unique.
        orders: Further orders in which the objects are indexed.
        conditions: The other filters: parameter to the function of the view and the value.
        narrowing: Those of ``conditions`` that may return ``beginnings``.
        answers: Returns the answer for each object of a page.
        target: Returns what an object is about, for callers that may not view all.
    """

    name: str
    fields: Mapping[str, str]
    sorts: Mapping[str, Order]
    orders: tuple[Order, ...] = ()
    conditions: Mapping[str, Callable[[ListView[T], Any], Condition[T]]] = {}
    narrowing: frozenset[str] = frozenset()
    answers: Callable[[ListView[T], Sequence[T]], Awaitable[Iterable[object]]]
    target: Callable[[T], Target]

    def sort_of(self, text: str) -> tuple[Order, bool]:
        """Return the order for a value of ``sort``, and whether it is descending.

        Raises:
            InvalidRequest: The kind has no such sort.
        """
        name = text.removeprefix("-") or next(iter(self.sorts))
        if name not in self.sorts:
            known = ", ".join(self.sorts)
            raise InvalidRequest(
                f"{self.name} cannot be sorted by {name!r}: expected {known}, or one of them after "
                "a minus sign"
            )
        return self.sorts[name], text.startswith("-")


def check_limit(limit: int) -> None:
    """Check the ``limit`` of a query.

    Raises:
        InvalidRequest: It is not in the range.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequest(f"limit is {limit}: expected 1 to {MAX_LIMIT}")
