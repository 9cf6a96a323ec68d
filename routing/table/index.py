"""An immutable index: from the keys of requests to the entries stored under the keys of rules.

A rule key is a host, path segments and a method, each perhaps "any". The index is a trie over these
elements that splits a node only when more than a few entries meet there. Therefore a thousand apps
below different first segments take one node each, and a request visits only the nodes that its own
elements lead to. The index narrows and never decides: the caller must still match the predicate.

A trie never changes: ``routing.table.index_builder`` makes the next one, which shares all unchanged
nodes with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar, Union

from immutables import Map

from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, Element, IndexKey

Entry = TypeVar("Entry", bound=Hashable)

# Matching three more candidates costs less than three more steps down the trie.
SPLIT_ABOVE = 3

Leaf: TypeAlias = tuple[Entry, ...] | Map[Entry, None]
"""Entries; in a persistent map if many have one key, as a change must not copy all of them."""
Trie: TypeAlias = Union["Node[Entry]", "WideNode[Entry]", Leaf[Entry]]
"""A node; or the entries, perhaps none, where the trie is not split. No tuple is long."""

LEAF: Final = (tuple, Map)

# Up to this many names a node is a dictionary, which a change copies. A dictionary takes half the
# time of a persistent map to read and lies in one piece of memory.
NARROW = 128


NamedTries: TypeAlias = Any
"""Tries by text: a persistent map, or a mutation of one while a builder changes it."""
_NO_NAMES: Mapping[str, Any] = {}


class Node(dict[str, "Trie[Entry]"], Generic[Entry]):
    """A split by one element of the keys: the dictionary holds the trie below each text.

    Attributes:
        unnamed: The trie below for any text.
        end: The trie below for a path that ends here.
        rest: The trie below for a path that ends here or goes on.
        owner: The builder that has made it and may still change it, while that is not finished.
    """

    # The marks are attributes, not keys of the dictionary: a look-up takes ten times as long, and
    # most requests read all of them at most nodes.
    __slots__ = ("end", "owner", "rest", "unnamed")

    def __init__(self, named: Mapping[str, Trie[Entry]] = _NO_NAMES, owner: object = None) -> None:
        super().__init__(named)
        self.owner = owner
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __bool__(self) -> bool:
        """Return True: a node without names may still hold entries."""
        return True


class WideNode(Generic[Entry]):
    """A node with many names, in a persistent map: a change of one name shares the rest.

    Attributes:
        named: The trie below each text; while a builder changes it, a mutation of the map.
        get: Function that returns the trie below a text, or None.
        unnamed: As in ``Node``.
        end: As in ``Node``.
        rest: As in ``Node``.
        owner: As in ``Node``.
    """

    __slots__ = ("end", "get", "named", "owner", "rest", "unnamed")

    def __init__(self, named: NamedTries, owner: object) -> None:
        self.put_names(named)
        self.owner = owner
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __len__(self) -> int:
        return len(self.named)

    def __bool__(self) -> bool:
        """Return True: a node without names may still hold entries."""
        return True

    def put_names(self, named: NamedTries) -> None:
        """Replace the names with the tries below them."""
        self.named = named
        self.get = named.get


AnyNode: TypeAlias = Node[Entry] | WideNode[Entry]


def candidates(root: Trie[Entry], facts: Facts) -> list[Entry]:
    """Return the entries that the elements of the request lead to, some perhaps twice."""
    found: list[Entry] = []
    nodes: list[AnyNode[Entry]] = []
    if isinstance(root, LEAF):
        return list(root)
    _add(root.unnamed, nodes, found)
    # Most platforms have no rule with a host; then the request's host is not decoded.
    if len(root):
        _add(root.get(facts.host) or (), nodes, found)
    for segment in facts.segments:
        if not nodes:
            return found
        nodes = _next_nodes(nodes, segment, facts.method, found)
    for node in nodes:
        _add_at_end(node.end, facts.method, found)
        _add_at_end(node.rest, facts.method, found)
    return found


def _next_nodes(
    nodes: list[AnyNode[Entry]], segment: str, method: str, found: list[Entry]
) -> list[AnyNode[Entry]]:
    """Return the nodes one segment further down, and add the entries on the way to ``found``."""
    below: list[AnyNode[Entry]] = []
    for node in nodes:
        if node.rest:
            _add_at_end(node.rest, method, found)
        if node.unnamed:
            _add(node.unnamed, below, found)
        named = node.get(segment)
        if named is not None:
            _add(named, below, found)
    return below


def _add(trie: Trie[Entry], nodes: list[AnyNode[Entry]], found: list[Entry]) -> None:
    """Add a node to ``nodes``, or the entries of a leaf to ``found``."""
    if isinstance(trie, tuple):
        found += trie
    else:
        nodes.append(trie)  # type: ignore[arg-type]  # only at their ends, many keys are equal


def _add_at_end(trie: Trie[Entry], method: str, found: list[Entry]) -> None:
    """Add the entries at the end of a path, where only the method can still split them."""
    if isinstance(trie, tuple):
        found += trie
    elif not isinstance(trie, Map):
        for branch in (trie.unnamed, trie.get(method) or ()):
            if isinstance(branch, LEAF):
                found += branch


def candidates_for_key(root: Trie[Entry], key: IndexKey) -> list[Entry]:
    """Return every entry that has ``key``, and perhaps others."""
    host, path, method = key
    trie = root
    for element in (host, *path, method):
        if isinstance(trie, LEAF):
            break
        trie = trie_below(trie, element)
    return list(trie) if isinstance(trie, LEAF) else []


def trie_below(node: AnyNode[Entry], element: Element) -> Trie[Entry]:
    """Return the trie below one element of the keys."""
    if isinstance(element, str):
        return node.get(element) or ()
    return node.unnamed if element is ANY else node.end if element is END else node.rest
