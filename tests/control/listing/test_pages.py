"""Pages of a list: every object once, at one revision, for the price of a page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.listing.kept_views import KeptViews
from control.listing.list_kind import Condition, ListKind, ListQuery, ListView
from control.listing.listing import Listing
from control.listing.live_index import LiveIndex
from control.listing.pacing import SLICE_RECORDS
from control.listing.page import MAX_PAGE_BYTES, Page
from kubefox.errors import ContinueExpired, InvalidRequest
from kubefox.grants import Target
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex


class Thing(msgspec.Struct, frozen=True):
    """An object to list."""

    name: str
    app: str
    created: int
    text: str = ""


class ThingsQuery(ListQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of things."""

    app: str = ""
    parity: str = ""
    one_of: str = ""


class World:
    """A list of things, which change.

    Args:
        things: The things at first.
        kept: How many views are kept.
    """

    def __init__(self, things: Iterable[Thing] = (), *, kept: int = 32) -> None:
        self.things = {thing.name: thing for thing in things}
        self.revision = 1
        self.touched = 0
        self.now_s = 0.0
        self._snapshot = Snapshot.empty()
        kind = ListKind(
            target=lambda _item: Target(),
            name="things",
            fields={"name": "name", "app": "app", "created": "created"},
            sorts={"name": ("name",), "created": ("created", "name"), "app": ("app", "name")},
            orders=(("app", "created", "name"),),
            conditions={"parity": self._of_parity, "one_of": one_of},
            narrowing=frozenset({"one_of"}),
            answers=self._answers,
        )
        self.index = LiveIndex(lambda: list(self.things.values()), kind.fields)
        self.list = Listing(
            kind,
            self.index,
            revision=lambda: self.revision,
            snapshot=lambda: self._snapshot,
            usage=no_usage,
            kept=KeptViews(limit=kept, now=lambda: self.now_s),
        )

    def put(self, thing: Thing) -> None:
        """Create or replace a thing."""
        self.revision += 1
        before = self.things.get(thing.name)
        self.things[thing.name] = thing
        self.index.change(before, thing)

    def remove(self, name: str) -> None:
        """Remove a thing."""
        self.revision += 1
        self.index.change(self.things.pop(name, None), None)

    async def page(self, query: ListQuery, token: str = "") -> Page[Thing]:
        """Return a page of the list."""
        found = await self.list.page(msgspec.structs.replace(query, continue_=token))
        return msgspec.json.decode(found.body, type=Page[Thing])

    async def all(
        self, query: ListQuery, between: Callable[[], None] = lambda: None
    ) -> list[Thing]:
        """Return all pages together; ``between`` is called before each further page."""
        page = await self.page(query)
        revision, found = page.revision, list(page.items)
        while page.continue_:
            between()
            page = await self.page(query, page.continue_)
            assert page.revision == revision
            assert len(page.items) <= query.limit
            found += page.items
        return found

    def _of_parity(self, _view: ListView[Thing], parity: str) -> Condition[Thing]:
        def matches(thing: Thing) -> bool:
            self.touched += 1
            return thing.created % 2 == (parity == "odd")

        return Condition(matches)

    async def _answers(self, _view: ListView[Thing], things: Iterable[Thing]) -> Iterable[Thing]:
        return map(self._touch, things)

    def _touch(self, thing: Thing) -> Thing:
        self.touched += 1
        return thing


def one_of(_view: ListView[Thing], names: str) -> Condition[Thing]:
    wanted = names.split(",")
    return Condition(lambda thing: thing.name in wanted, [(name,) for name in wanted])


async def no_usage() -> UsageIndex:
    return UsageIndex()


def expected(things: Iterable[Thing], query: ThingsQuery) -> list[Thing]:
    """Return what all pages of a query hold together."""
    found = [
        thing
        for thing in things
        if query.app in {"", thing.app}
        and thing.name.startswith(query.name_prefix)
        and (not query.parity or thing.created % 2 == (query.parity == "odd"))
        and (not query.one_of or thing.name in query.one_of.split(","))
    ]
    field = query.sort.removeprefix("-") or "name"
    found.sort(key=lambda thing: (getattr(thing, field), thing.name))
    return found[::-1] if query.sort.startswith("-") else found


def things(count: int) -> list[Thing]:
    """Return things of ten apps."""
    return [
        Thing(f"thing-{number:05}", f"app-{number % 10}", number % 17) for number in range(count)
    ]


NAMES = st.text("ab", min_size=1, max_size=3)
THINGS = st.builds(Thing, NAMES, st.sampled_from("pq"), st.integers(0, 3))
QUERIES = st.builds(
    ThingsQuery,
    limit=st.integers(1, 5),
    sort=st.sampled_from(["", "name", "-name", "created", "-created", "app", "-app"]),
    name_prefix=st.sampled_from(["", "a", "ab", "c"]),
    app=st.sampled_from(["", "p", "r"]),
    parity=st.sampled_from(["", "odd", "even"]),
    one_of=st.sampled_from(["", "a,b,ab", "zz"]),
)
CHANGES = st.lists(st.one_of(THINGS, NAMES), max_size=30)


@given(st.lists(THINGS, max_size=40), QUERIES, CHANGES)
def test_pages_hold_every_object_of_one_revision_once_while_others_change(
    first: list[Thing], query: ThingsQuery, changes: list[Thing | str]
) -> None:
    async def read() -> None:
        world = World(first)
        listed_things = expected(world.things.values(), query)
        following = iter(changes)

        def change() -> None:
            match next(following, None):
                case Thing() as thing:
                    world.put(thing)
                case str() as name:
                    world.remove(name)

        assert await world.all(query, change) == listed_things
        for _ in changes:
            change()
        assert await world.all(query) == expected(world.things.values(), query)

    asyncio.run(read())


@pytest.mark.parametrize(
    "query",
    [
        ThingsQuery(limit=20),
        ThingsQuery(limit=20, sort="-created"),
        ThingsQuery(limit=5, app="app-3"),
        ThingsQuery(limit=5, app="app-3", sort="created"),
        ThingsQuery(limit=20, name_prefix="thing-0001"),
        ThingsQuery(limit=20, one_of="thing-00012,thing-00013"),
    ],
)
async def test_a_page_touches_the_same_number_of_objects_in_lists_of_any_length(
    query: ThingsQuery,
) -> None:
    touched = []
    for count in (100, 10_000):
        world = World(things(count))
        page = await world.page(query)
        if page.continue_:
            await world.page(query, page.continue_)
        touched.append(world.touched)

    assert touched[0] == touched[1] > 0


async def test_a_search_lets_other_tasks_run_after_a_fixed_number_of_objects() -> None:
    world = World(things(5_000))
    await world.page(ThingsQuery(limit=1))
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(world.touched)
            await asyncio.sleep(0)

    looking = asyncio.ensure_future(look())
    page = await world.page(ThingsQuery(parity="odd", name_prefix="", app="", limit=10_000))
    looking.cancel()

    assert len(page.items) == sum(thing.created % 2 for thing in things(5_000))
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= SLICE_RECORDS


async def test_sorting_a_list_lets_other_tasks_run() -> None:
    world = World(things(5_000))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    await world.page(ThingsQuery(limit=1))
    counting.cancel()

    # The items are collected, divided and sorted in parts.
    assert turns >= 2 * 5_000 // SLICE_RECORDS


async def test_a_change_while_the_list_is_sorted_is_in_the_list() -> None:
    world = World(things(2_000))

    reading = asyncio.ensure_future(world.all(ThingsQuery(limit=10_000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.put(Thing("a-new-one", "app-1", 1))
    world.remove("thing-00007")

    assert await reading == expected(world.things.values(), ThingsQuery())


async def test_a_list_is_sorted_again_if_all_objects_were_read_again() -> None:
    world = World(things(10))
    await world.all(ThingsQuery())

    world.things = {"other": Thing("other", "app", 1)}
    world.revision += 1
    world.index.reset()

    assert await world.all(ThingsQuery()) == [Thing("other", "app", 1)]


async def test_a_page_of_large_objects_is_shorter() -> None:
    text = "x" * (MAX_PAGE_BYTES // 3)
    world = World([Thing(f"t{number}", "app", number, text) for number in range(5)])

    page = await world.page(ThingsQuery())

    assert len(page.items) == 2
    assert page.remaining_item_count == 3
    assert [thing.name for thing in await world.all(ThingsQuery())] == [f"t{n}" for n in range(5)]


async def test_a_page_says_how_many_objects_remain_unless_it_is_filtered() -> None:
    world = World(things(50))

    first = await world.page(ThingsQuery(limit=20))
    second = await world.page(ThingsQuery(limit=20), first.continue_)
    filtered = await world.page(ThingsQuery(limit=2, app="app-1"))

    assert (first.remaining_item_count, second.remaining_item_count) == (30, 10)
    assert filtered.remaining_item_count is None


async def expire_by_time(world: World) -> None:
    world.now_s += 60


async def expire_by_other_lists(world: World) -> None:
    await world.page(ThingsQuery(limit=1, sort="created"))


@pytest.mark.parametrize("expire", [expire_by_time, expire_by_other_lists])
async def test_a_revision_that_is_not_kept_any_more_is_reported_with_a_token_for_the_rest(
    expire: Callable[[World], Any],
) -> None:
    world = World(things(30), kept=1)
    query = ThingsQuery(limit=20)
    first = await world.page(query)
    world.put(Thing("thing-99999", "app", 1))
    await expire(world)

    with pytest.raises(ContinueExpired, match="begin again without continue") as raised:
        await world.page(query, first.continue_)
    rest = await world.page(query, raised.value.restart)

    assert [*first.items, *rest.items] == expected(world.things.values(), query)


async def test_a_revision_that_is_still_the_newest_one_needs_no_kept_view() -> None:
    world = World(things(30))
    first = await world.page(ThingsQuery(limit=20))

    world.now_s += 60
    rest = await world.page(ThingsQuery(limit=20), first.continue_)

    assert [*first.items, *rest.items] == things(30)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (ThingsQuery(limit=0), "limit is 0: expected 1 to 10000"),
        (ThingsQuery(limit=10_001), "limit is 10001: expected 1 to 10000"),
        (ThingsQuery(sort="size"), "things cannot be sorted by 'size': expected name, created"),
        (ThingsQuery(continue_="x"), "the continue token is invalid"),
        (ThingsQuery(continue_="é"), "the continue token is invalid"),
    ],
)
async def test_a_query_that_is_not_valid_is_refused(query: ThingsQuery, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        await World(things(3)).list.page(query)


async def test_a_token_of_another_list_is_refused() -> None:
    world = World(things(30))
    token = (await world.page(ThingsQuery(limit=10))).continue_

    with pytest.raises(InvalidRequest, match="belongs to another list"):
        await world.page(ThingsQuery(limit=10, app="app-1"), token)


async def test_views_are_dropped_without_further_requests() -> None:
    kept: KeptViews[str] = KeptViews(kept_s=0.001)
    kept.keep("a", "view")

    while len(kept):
        await asyncio.sleep(0)

    assert kept.find("a") is None
