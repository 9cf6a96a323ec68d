"""A bounded cache keeps recently used items."""

from __future__ import annotations

from routing.bounded_cache import BoundedCache


def test_a_bounded_cache_keeps_one_to_two_generations() -> None:
    cache: BoundedCache[int, str] = BoundedCache(3)

    for number in range(10):
        cache.put(number, str(number))

    assert 3 <= len(cache) <= 6
    assert cache.get(9) == "9"
    assert cache.get(0) is None


def test_a_bounded_cache_keeps_used_items() -> None:
    cache: BoundedCache[int, str] = BoundedCache(3)
    cache.put(0, "used")

    for number in range(1, 50):
        cache.put(number, str(number))
        assert cache.get(0) == "used"
