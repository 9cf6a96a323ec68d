"""Sorted blocks: as a sorted list, and a view stays as it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from control.listing.ordered_blocks import (
    BLOCK_ITEMS,
    Key,
    OrderedBlocks,
    Span,
    divided,
    sort_in_slices,
)

KEYS = st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=3), st.integers(0, 4))
SPANS = st.one_of(
    st.just(Span()),
    st.builds(lambda first: Span((first,)), st.sampled_from("abcd")),
    st.builds(lambda first, text: Span((first,), text), st.sampled_from("abc"), st.text("xyz")),
)


def itself(key: Key) -> Key:
    return key


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=120))
def test_blocks_hold_what_was_added_and_not_removed(changes: list[tuple[bool, Key]]) -> None:
    blocks = OrderedBlocks(itself, [])
    expected: set[Key] = set()

    for is_added, key in changes:
        before = blocks.view()
        held = list(before.items(Span()))
        if is_added:
            blocks.add(key)
            expected.add(key)
        else:
            blocks.remove(key)
            expected.discard(key)
        assert list(before.items(Span())) == held

    assert list(blocks.view().items(Span())) == sorted(expected)
    assert len(blocks.view()) == len(expected)


@given(st.sets(KEYS, max_size=60), SPANS, st.none() | KEYS, st.booleans(), st.integers(1, 7))
def test_a_span_holds_the_keys_that_begin_alike_behind_a_key(
    keys: set[Key], span: Span, after: Key | None, is_descending: bool, block_items: int
) -> None:
    ordered = sorted(keys)
    starts = range(0, len(ordered), block_items)
    blocks = OrderedBlocks(itself, [tuple(ordered[at : at + block_items]) for at in starts])

    found = list(blocks.view().items(span, after, is_descending=is_descending))

    expected = [
        key
        for key in (reversed(ordered) if is_descending else ordered)
        if key[: len(span.fields)] == span.fields
        and (not span.text or key[1].startswith(span.text))
        and (after is None or (key < after if is_descending else key > after))
    ]
    assert found == expected


async def test_many_items_are_sorted_into_blocks_of_a_bounded_size() -> None:
    names = [f"{number * 7919 % 10_007:05}" for number in range(10_000)]

    blocks = await sort_in_slices(names, lambda name: (name,))
    for number in range(3 * BLOCK_ITEMS):
        blocks.add(f"00000-{number:04}")

    found = list(blocks.view().items(Span()))
    assert found == sorted({*names, *(f"00000-{number:04}" for number in range(3 * BLOCK_ITEMS))})
    assert max(map(len, blocks.view().blocks)) < 2 * BLOCK_ITEMS


def test_many_items_are_divided() -> None:
    assert [len(block) for block in divided(range(2 * BLOCK_ITEMS + 1))] == [
        BLOCK_ITEMS,
        BLOCK_ITEMS,
        1,
    ]
