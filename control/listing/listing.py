"""Lists in pages: finds the objects of a page, at the revision of the first page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any, Generic, NamedTuple

from control.listing.continue_token import NEWEST, ContinueToken, checksum, decode_token
from control.listing.kept_views import KeptViews
from control.listing.list_kind import Condition, ListKind, ListQuery, ListView, check_limit
from control.listing.live_index import LiveIndex
from control.listing.ordered_blocks import Key, Span, T
from control.listing.orders import Order, choose_order
from control.listing.pacing import Pacing
from control.listing.page import EncodedPage, Page, encode_items, encode_page
from kubefox.errors import ContinueExpired, InvalidRequest
from kubefox.grants import Target
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex


class _Plan(NamedTuple):
    """How the objects of a query are found.

    Attributes:
        order: The index that is read.
        is_descending: Whether it is read backwards.
        span: The part of it that is read, if no filter names the beginnings of the keys.
        is_narrowed: Whether a filter names the beginnings of the keys.
    """

    order: Order
    is_descending: bool
    span: Span
    is_narrowed: bool


class Listing(Generic[T]):
    """The lists of one kind.

    Args:
        kind: The kind.
        index: All objects of the kind.
        revision: Returns the revision of the index.
        snapshot: Returns the control plane's current records.
        usage: Returns the usage index of these records.
        kept: Views of lists that clients are reading; shared by all kinds.
        is_comparable: Whether equal revisions in two processes mean equal objects.
    """

    def __init__(
        self,
        kind: ListKind[T],
        index: LiveIndex[T],
        *,
        revision: Callable[[], int],
        snapshot: Callable[[], Snapshot],
        usage: Callable[[], Awaitable[UsageIndex]],
        kept: KeptViews[ListView[Any]],
        is_comparable: bool = True,
    ) -> None:
        self._kind = kind
        self._is_comparable = is_comparable
        self._index = index
        self._revision = revision
        self._snapshot = snapshot
        self._usage = usage
        self._kept = kept

    async def prepare(self) -> None:
        """Sort the objects in the default order, so that the first list need not wait for it."""
        await self._index.prepare(self._kind.sort_of("")[0])

    async def page(
        self, query: ListQuery, sees: Callable[[Target], bool] | None = None
    ) -> EncodedPage:
        """Return one page.

        Args:
            query: The query.
            sees: Whether the caller may view a target; None if it may view everything.

        Raises:
            InvalidRequest: The limit, the sort or the token is not valid.
            ContinueExpired: The revision of the first page is not kept any more.
        """
        check_limit(query.limit)
        kind, plan = self._kind, self._plan(query)
        query_sum = checksum(kind.name, query.filters, query.sort)
        token = decode_token(query.continue_, query_sum) if query.continue_ else None
        view = await self._view(plan.order, token)
        conditions = await self._conditions(query, view, is_narrowed=plan.is_narrowed)
        candidates = self._candidates(plan, conditions, view, token)
        checks = [condition.matches for condition in conditions] + _checks_of_fields(kind, query)
        if sees is not None:
            checks.insert(0, lambda item: sees(kind.target(item)))
        found, has_more = await _matching(candidates, checks, query.limit)
        items = await encode_items(await kind.answers(view, found))
        seen = len(items) + (token.seen if token else 0)
        following = ""
        if has_more or len(items) < len(found):
            key = view.items.key_of(found[len(items) - 1])
            self._kept.keep((kind.name, plan.order, view.revision), view)
            following = ContinueToken(
                query=query_sum, revision=view.revision, seen=seen, key=key
            ).encode()
        is_whole = not query.filters and sees is None
        page: Page[object] = Page(
            revision=view.revision,
            continue_=following,
            remaining_item_count=max(0, len(view.items) - seen) if is_whole else None,
        )
        return encode_page(page, items)

    async def find(self, order: Order, key: Key) -> T | None:
        """Return the first object whose key in an order begins with ``key``, or None."""
        await self._index.prepare(order)
        return next(self._index.view(order).items(Span(key)), None)

    def _plan(self, query: ListQuery) -> _Plan:
        kind, filters = self._kind, query.filters
        sort, is_descending = kind.sort_of(query.sort)
        if filters.keys() & kind.narrowing and sort == next(iter(kind.sorts.values())):
            return _Plan(sort, is_descending, Span(), is_narrowed=True)
        equal = {name: value for name, value in filters.items() if name in kind.fields}
        order, fixed = choose_order((*kind.sorts.values(), *kind.orders), sort, equal)
        is_by_name = order[len(fixed) :][:1] == ("name",)
        text = query.name_prefix if is_by_name else ""
        return _Plan(order, is_descending, Span(fixed, text), is_narrowed=False)

    async def _view(self, order: Order, token: ContinueToken | None) -> ListView[T]:
        if token is not None and token.revision != NEWEST:
            kept = self._kept.find((self._kind.name, order, token.revision))
            if kept is not None:
                return kept
        await self._index.prepare(order)
        revision = self._revision()
        if token is not None and token.revision != NEWEST:
            # Another control process may have made the first page: at the same revision, this
            # process has the same objects.
            is_same = self._is_comparable and token.revision == revision
            if not is_same:
                raise _expired(token)
        return ListView(self._index.view(order), revision, self._snapshot())

    async def _conditions(
        self, query: ListQuery, view: ListView[T], *, is_narrowed: bool
    ) -> list[Condition[T]]:
        usage = await self._usage() if is_narrowed else None
        if view.snapshot is self._snapshot():
            view = view._replace(usage=usage)
        conditions = self._kind.conditions
        given = query.filters.items()
        return [conditions[name](view, value) for name, value in given if name in conditions]

    def _candidates(
        self,
        plan: _Plan,
        conditions: Iterable[Condition[T]],
        view: ListView[T],
        token: ContinueToken | None,
    ) -> Iterator[T]:
        spans = _narrowed(conditions) if plan.is_narrowed else [plan.span]
        if plan.is_descending:
            spans.reverse()
        after = token.key if token else None
        try:
            found = [
                view.items.items(span, after, is_descending=plan.is_descending) for span in spans
            ]
        except TypeError as error:
            raise InvalidRequest(
                "the continue token is invalid: its key has a wrong type"
            ) from error
        return chain.from_iterable(found)


def _narrowed(conditions: Iterable[Condition[T]]) -> list[Span]:
    """Return the spans that all conditions select."""
    selected = [
        set(condition.beginnings) for condition in conditions if condition.beginnings is not None
    ]
    if not selected:
        return [Span()]
    return [Span(key) for key in sorted(set.intersection(*selected))]


async def _matching(
    candidates: Iterable[T], checks: Iterable[Callable[[T], bool]], limit: int
) -> tuple[list[T], bool]:
    """Return the objects of a page, and whether further ones follow."""
    pacing = Pacing()
    found: list[T] = []
    for item in candidates:
        if all(check(item) for check in checks):
            if len(found) == limit:
                return found, True
            found.append(item)
        if pacing.is_due():
            await pacing.rest()
    return found, False


def _checks_of_fields(kind: ListKind[T], query: ListQuery) -> list[Callable[[T], bool]]:
    checks = [
        _has_value(attrgetter(kind.fields[name]), value)
        for name, value in query.filters.items()
        if name in kind.fields
    ]
    if query.name_prefix:
        name_of = attrgetter(kind.fields["name"])
        checks.append(lambda item: name_of(item).startswith(query.name_prefix))
    return checks


def _has_value(get: Callable[[T], Any], value: Any) -> Callable[[T], bool]:
    return lambda item: get(item) == value


def _expired(token: ContinueToken) -> ContinueExpired:
    restart = ContinueToken(query=token.query, revision=NEWEST, seen=token.seen, key=token.key)
    return ContinueExpired(
        f"revision {token.revision} of the list is not kept any more: begin again without "
        "continue, or use the continue token of this error, with which the rest of the list shows "
        "a newer revision",
        restart=restart.encode(),
    )
