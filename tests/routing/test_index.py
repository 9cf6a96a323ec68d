"""The index's nodes: narrow ones, wide ones, and the way between them."""

from __future__ import annotations

from routing.facts import Facts
from routing.index import NARROW, SPLIT_ABOVE, Index, Node, WideNode
from routing.keys import ANY, END, REST, Key
from routing.keytree import KeyTree, merged
from routing.request import GenesisRequest

MANY = NARROW + 3


def below(name: str) -> list[Key]:
    return [(ANY, (name, "x", END), ANY)]


def index_of(keys: dict[int, list[Key]]) -> Index[int]:
    index: Index[int] = Index(lambda entry: KeyTree(merged(keys[entry])))
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


def test_a_change_leaves_the_index_of_before_as_it_was() -> None:
    for count in (NARROW, MANY):
        before = index_of({entry: below(f"a{entry}") for entry in range(count)})

        after = before.removed(0)

        assert (found(before, "/a0/x"), found(after, "/a0/x")) == ([0], [])
        assert found(after, "/a1/x") == [1]


def test_what_is_taken_out_leaves_nothing_behind() -> None:
    index = index_of({entry: below(f"a{entry}") for entry in range(MANY)})

    for entry in range(MANY):
        index = index.removed(entry)

    assert index.root == ()


def test_a_node_with_nothing_by_name_is_not_taken_for_nothing() -> None:
    anything: list[Key] = [(ANY, (ANY, REST), ANY)]
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
