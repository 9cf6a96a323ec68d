"""A cache stays within its bytes, and finds most of the items that are requested in turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.sized_cache import ENTRY_BYTES, SizedCache

ITEM = 100 - ENTRY_BYTES
"""Size of an item that takes 100 bytes in the cache."""


def cache_for(items: int) -> SizedCache[int, str]:
    return SizedCache(items * 100, lambda _: ITEM)


def hits_in_turn(cache: SizedCache[int, str], items: int) -> int:
    """Use items one after another, each once; return how many were found."""
    before = cache.hits
    for number in range(items):
        if cache.get(number) is None:
            cache.put(number, str(number))
    return cache.hits - before


def test_all_items_are_found_if_there_is_room_for_all() -> None:
    cache = cache_for(1_000)
    hits_in_turn(cache, 1_000)

    assert hits_in_turn(cache, 1_000) == 1_000
    assert cache.evictions == 0


@pytest.mark.parametrize(("room", "expected"), [(950, 850), (900, 750), (800, 550), (500, 150)])
def test_items_requested_in_turn_are_found_in_proportion_to_the_room(
    room: int, expected: int
) -> None:
    cache = cache_for(room)
    for _ in range(5):
        hits_in_turn(cache, 1_000)

    assert hits_in_turn(cache, 1_000) > expected
    assert len(cache) == room


def test_an_item_in_constant_use_is_hardly_ever_missed() -> None:
    cache = cache_for(1_000)
    cache.put(-1, "hot")
    missed = 0

    for number in range(100_000):
        cache.put(number, str(number))
        if cache.get(-1) is None:
            missed += 1
            cache.put(-1, "hot")

    assert missed < 300


def test_the_latest_item_is_kept_however_large_it_is() -> None:
    removed: list[str] = []
    cache: SizedCache[str, str] = SizedCache(1, len, lambda key, _: removed.append(key))

    cache.put("small", "1")
    cache.put("large", "1" * 1_000)

    assert list(cache) == ["large"]
    assert removed == ["small"]


def test_a_replaced_item_is_removed_and_its_bytes_are_free() -> None:
    removed: list[tuple[str, str]] = []
    cache: SizedCache[str, str] = SizedCache(
        1_000, len, lambda key, item: removed.append((key, item))
    )

    cache.put("key", "1" * 500)
    cache.put("key", "2" * 10)

    assert cache.size_bytes == ENTRY_BYTES + 10
    assert removed == [("key", "1" * 500)]
    assert cache.evictions == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 300)), max_size=80))
def test_the_bytes_are_the_sum_of_the_items_and_within_the_bound(
    puts: list[tuple[int, int]],
) -> None:
    cache: SizedCache[int, str] = SizedCache(1_000, len)

    for key, size in puts:
        cache.put(key, "x" * size)

        items = [cache.get(kept) for kept in cache]
        assert cache.size_bytes == sum(ENTRY_BYTES + len(item or "") for item in items)
        assert cache.size_bytes <= 1_000
        assert cache.get(key) == "x" * size
