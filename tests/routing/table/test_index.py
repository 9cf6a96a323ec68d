"""The nodes of the index: narrow, wide, and the change from one to the other."""

from __future__ import annotations

from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, REST, IndexKey
from routing.request import GenesisRequest
from routing.table.index import NARROW, SPLIT_ABOVE, Index, Node, WideNode
from routing.table.key_trie import KeyTrie, merge_keys

MANY = NARROW + 3


def below(name: str) -> list[IndexKey]:
    return [(ANY, (name, "x", END), ANY)]


def index_of(keys: dict[int, list[IndexKey]]) -> Index[int]:
    index: Index[int] = Index(lambda entry: KeyTrie(merge_keys(keys[entry])))
    for entry in keys:
        index = index.added(entry)
    return index


def found(index: Index[int], path: str) -> list[int]:
    return sorted(index.candidates(Facts(GenesisRequest(path=path))))


def node_of_names(index: Index[int]) -> Node[int] | WideNode[int]:
    assert isinstance(index.root, Node)
    node = index.root.unnamed
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
        before = index_of({entry: below(f"a{entry}") for entry in range(count)})

        after = before.removed(0)

        assert (found(before, "/a0/x"), found(after, "/a0/x")) == ([0], [])
        assert found(after, "/a1/x") == [1]


def test_removing_all_entries_leaves_an_empty_trie() -> None:
    index = index_of({entry: below(f"a{entry}") for entry in range(MANY)})

    for entry in range(MANY):
        index = index.removed(entry)

    assert index.root == ()


def test_a_node_without_names_is_not_treated_as_empty() -> None:
    anything: list[IndexKey] = [(ANY, (ANY, REST), ANY)]
    keys = dict.fromkeys(range(SPLIT_ABOVE), anything) | {9: below("a")}
    index = index_of(keys)
    assert found(index, "/a/x") == [*range(SPLIT_ABOVE), 9]

    index = index.removed(9)

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
    assert set(index.candidates(Facts(request))) >= {1, 1_001, 1_002, 1_003, 1_004}


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
    index: Index[CountedEntry] = Index(lambda _: shared)
    for entry in entries[1:]:
        index = index.added(entry)
    CountedEntry.compared = 0

    changed = index.added(entries[0]).removed(entries[-1])

    assert CountedEntry.compared < NARROW
    request = Facts(GenesisRequest(path="/a/x"))
    assert set(map(id, changed.candidates(request))) == set(map(id, entries[:-1]))
    assert set(map(id, index.candidates(request))) == set(map(id, entries[1:]))
    assert len(changed.candidates_for_key(below("a")[0])) == len(entries) - 1


def test_an_index_of_many_entries_with_one_key_is_empty_when_all_are_removed() -> None:
    index = index_of({entry: below("a") for entry in range(MANY)})
    assert found(index, "/a/x") == list(range(MANY))

    for entry in range(MANY):
        index = index.removed(entry)

    assert index.root == ()
