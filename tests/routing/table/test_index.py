"""The nodes of the index: narrow, wide, and the change from one to the other."""

from __future__ import annotations

from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, REST, IndexKey
from routing.request import GenesisRequest
from routing.table.index import (
    NARROW,
    SPLIT_ABOVE,
    Node,
    Trie,
    WideNode,
    candidates,
    candidates_for_key,
)
from routing.table.index_builder import IndexBuilder
from routing.table.key_trie import KeyTrie, merge_keys

MANY = NARROW + 3


def below(name: str) -> list[IndexKey]:
    return [(ANY, (name, "x", END), ANY)]


def builder_of(keys: dict[int, list[IndexKey]], root: Trie[int] = ()) -> IndexBuilder[int]:
    return IndexBuilder(lambda entry: KeyTrie(merge_keys(keys[entry])), root)


def index_of(keys: dict[int, list[IndexKey]]) -> Trie[int]:
    builder = builder_of(keys)
    for entry in keys:
        builder.add(entry)
    return builder.finish()


def without(keys: dict[int, list[IndexKey]], root: Trie[int], *entries: int) -> Trie[int]:
    builder = builder_of(keys, root)
    for entry in entries:
        builder.remove(entry)
    return builder.finish()


def found(root: Trie[int], path: str) -> list[int]:
    return sorted(candidates(root, Facts(GenesisRequest(path=path))))


def node_of_names(root: Trie[int]) -> Node[int] | WideNode[int]:
    assert isinstance(root, Node)
    node = root.unnamed
    assert isinstance(node, Node | WideNode)
    return node


def test_a_node_with_many_names_is_a_persistent_map() -> None:
    keys = {entry: below(f"a{entry}") for entry in range(MANY)}

    index = index_of(keys)

    assert isinstance(node_of_names(index), WideNode)
    assert [found(index, f"/a{entry}/x") for entry in keys] == [[entry] for entry in keys]
    assert found(index, "/b/x") == []


def test_a_change_does_not_modify_the_old_index() -> None:
    for count in (NARROW, MANY):
        keys = {entry: below(f"a{entry}") for entry in range(count)}
        before = index_of(keys)

        after = without(keys, before, 0)

        assert (found(before, "/a0/x"), found(after, "/a0/x")) == ([0], [])
        assert found(after, "/a1/x") == [1]


def test_removing_all_entries_leaves_an_empty_trie() -> None:
    keys = {entry: below(f"a{entry}") for entry in range(MANY)}

    assert without(keys, index_of(keys), *keys) == ()


def test_a_node_without_names_is_not_treated_as_empty() -> None:
    anything: list[IndexKey] = [(ANY, (ANY, REST), ANY)]
    keys = dict.fromkeys(range(SPLIT_ABOVE), anything) | {9: below("a")}
    index = index_of(keys)
    assert found(index, "/a/x") == [*range(SPLIT_ABOVE), 9]

    index = without(keys, index, 9)

    assert found(index, "/a/x") == list(range(SPLIT_ABOVE))
    assert found(index, "/") == []


def test_all_kinds_of_ends_are_found_beside_many_names() -> None:
    keys = {entry: below(f"a{entry}") for entry in range(MANY)}
    keys |= {
        1_000: [(ANY, (END,), ANY)],
        1_001: [(ANY, (REST,), ANY)],
        1_002: [(ANY, (ANY, "x", END), ANY)],
        1_003: [("shop.test", ("a1", "x", END), ANY)],
        1_004: [(ANY, ("a1", "x", END), "POST")],
    }

    index = index_of(keys)

    assert set(found(index, "/")) >= {1_000, 1_001}
    assert set(found(index, "/a1/x")) >= {1, 1_001, 1_002}
    request = GenesisRequest(path="/a1/x", host="shop.test", method="POST")
    assert set(candidates(index, Facts(request))) >= {1, 1_001, 1_002, 1_003, 1_004}


class CountedEntry:
    """An entry that counts how often any of them is compared."""

    compared = 0

    def __init__(self, number: int) -> None:
        self._number = number

    def __hash__(self) -> int:
        return hash(self._number)

    def __eq__(self, other: object) -> bool:
        CountedEntry.compared += 1
        return self is other


def test_a_change_of_one_entry_compares_it_with_few_of_those_that_have_the_same_key() -> None:
    shared = KeyTrie(merge_keys(below("a")))
    entries = [CountedEntry(number) for number in range(20 * NARROW)]
    builder: IndexBuilder[CountedEntry] = IndexBuilder(lambda _: shared)
    for entry in entries[1:]:
        builder.add(entry)
    index = builder.finish()
    CountedEntry.compared = 0

    builder = IndexBuilder(lambda _: shared, index)
    builder.add(entries[0])
    builder.remove(entries[-1])
    changed = builder.finish()

    assert CountedEntry.compared < NARROW
    request = Facts(GenesisRequest(path="/a/x"))
    assert set(map(id, candidates(changed, request))) == set(map(id, entries[:-1]))
    assert set(map(id, candidates(index, request))) == set(map(id, entries[1:]))
    assert len(candidates_for_key(changed, below("a")[0])) == len(entries) - 1


def test_an_index_of_many_entries_with_one_key_is_empty_when_all_are_removed() -> None:
    keys = {entry: below("a") for entry in range(MANY)}
    index = index_of(keys)
    assert found(index, "/a/x") == list(range(MANY))

    assert without(keys, index, *keys) == ()


def test_a_builder_changes_what_it_has_made_and_copies_the_rest_once() -> None:
    keys = {entry: below(f"a{entry}") for entry in range(3 * MANY)}
    before = index_of({entry: keys[entry] for entry in range(MANY)})
    shown = {entry: found(before, f"/a{entry}/x") for entry in keys}
    builder = builder_of(keys, before)
    builder.add(MANY)
    copied = builder._root

    for entry in range(MANY + 1, 3 * MANY):
        builder.add(entry)

    assert builder._root is copied
    after = builder.finish()
    assert {entry: found(before, f"/a{entry}/x") for entry in keys} == shown
    assert [found(after, f"/a{entry}/x") for entry in keys] == [[entry] for entry in keys]


def test_an_index_does_not_change_when_the_next_one_is_made_of_it() -> None:
    keys = {entry: below(f"a{entry}") for entry in range(2 * MANY)}
    first = index_of({entry: keys[entry] for entry in range(MANY)})
    builder = builder_of(keys, first)
    builder.add(MANY)
    second = builder.finish()

    third = without(keys, second, *range(MANY + 1))

    assert third == ()
    assert found(second, f"/a{MANY}/x") == [MANY]
    assert found(first, f"/a{MANY}/x") == []
    assert found(first, "/a0/x") == found(second, "/a0/x") == [0]
