"""An immutable index from request keys to whatever is stored under rule keys.

A rule key is a host, path segments and a method, with marks for "any". The index is a trie over
these elements that splits a node only when more than a few entries meet there, so a thousand apps
below different first segments take one node each, and a request looks at only those nodes its own
elements lead to. The index narrows, it never decides: whoever asks must still ask the predicate.

Every change returns a new trie that shares all untouched nodes with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from immutables import Map

from routing.facts import Facts
from routing.keys import ANY, END, REST, Element, Key

Entry = TypeVar("Entry")

# Asking three more candidates costs less than three more steps down.
SPLIT_ABOVE = 3

Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], Iterable[Key]]


class Node(Generic[Entry]):
    """A node is a leaf with entries, or split into nodes below by element."""

    __slots__ = ("below", "entries")

    def __init__(
        self, entries: tuple[Entry, ...], below: Map[Element, Node[Entry]] | None = None
    ) -> None:
        """Make a node; ``below`` is None for one that is not split."""
        self.entries = entries
        self.below = below


class Index(Generic[Entry]):
    """The trie and what it needs to split.

    Args:
        keys_of: All keys of an entry; the same for as long as the entry is in.
    """

    __slots__ = ("_keys_of", "_root")

    def __init__(self, keys_of: KeysOf[Entry], root: Node[Entry] | None = None) -> None:
        """Begin empty, or with the nodes of another index."""
        self._keys_of = keys_of
        self._root = root

    @property
    def root(self) -> Node[Entry] | None:
        """The topmost node, None if nothing is in."""
        return self._root

    def added(self, entry: Entry) -> Index[Entry]:
        """Return the index with ``entry`` under all its keys."""
        root = self._root
        for key in self._keys_of(entry):
            root = _insert(root, _elements(key), 0, entry, self._keys_of)
        return Index(self._keys_of, root)

    def removed(self, entry: Entry) -> Index[Entry]:
        """Return the index without ``entry``."""
        root = self._root
        for key in self._keys_of(entry):
            root = _remove(root, _elements(key), 0, entry)
        return Index(self._keys_of, root)

    def candidates(self, facts: Facts) -> list[Entry]:
        """Return every entry that could accept the request, some perhaps twice, in no order."""
        return [] if self._root is None else candidates(self._root, facts)

    def near(self, key: Key) -> list[Entry]:
        """Return every entry whose keys include ``key``, and perhaps others."""
        found: list[Entry] = []
        node = self._root
        for element in _elements(key):
            if node is None:
                return found
            found += node.entries
            node = node.below.get(element) if node.below else None
        return [*found, *node.entries] if node else found


def candidates(root: Node[Entry], facts: Facts) -> list[Entry]:
    """Return what the nodes hold that the elements of the request lead to."""
    found = list(root.entries)
    if root.below is None:
        return found
    segments, count = facts.segments, len(facts.segments)
    below = root.below.get
    pending = [(node, 0) for node in (below(facts.host), below(ANY)) if node is not None]
    while pending:
        node, at = pending.pop()
        found += node.entries
        if node.below is None:
            continue
        below = node.below.get
        if at < count:
            if (child := below(segments[at])) is not None:
                pending.append((child, at + 1))
            if (child := below(ANY)) is not None:
                pending.append((child, at + 1))
        elif (child := below(END)) is not None:
            _collect_method(child, facts.method, found)
        if (child := below(REST)) is not None:
            _collect_method(child, facts.method, found)
    return found


def _collect_method(node: Node[Entry], method: str, found: list[Entry]) -> None:
    found += node.entries
    if node.below is not None:
        for element in (method, ANY):
            if (child := node.below.get(element)) is not None:
                found += child.entries


def _elements(key: Key) -> Elements:
    host, path, method = key
    return (host, *path, method)


def _insert(
    node: Node[Entry] | None, key: Elements, at: int, entry: Entry, keys_of: KeysOf[Entry]
) -> Node[Entry]:
    if node is None:
        return Node((entry,))
    if node.below is not None and at < len(key):
        before = node.below.get(key[at])
        child = _insert(before, key, at + 1, entry, keys_of)
        return node if child is before else Node((), node.below.set(key[at], child))
    if entry in node.entries:
        return node
    grown = Node((*node.entries, entry))
    if len(grown.entries) <= SPLIT_ABOVE or at == len(key):
        return grown
    return _split(grown, key[:at], keys_of)


def _split(node: Node[Entry], prefix: Elements, keys_of: KeysOf[Entry]) -> Node[Entry]:
    # No key is the beginning of another, so every entry has a way down.
    at = len(prefix)
    split: Node[Entry] = Node((), Map())
    for entry in node.entries:
        for key in map(_elements, keys_of(entry)):
            if key[:at] == prefix:
                split = _insert(split, key, at, entry, keys_of)
    return split


def _remove(node: Node[Entry] | None, key: Elements, at: int, entry: Entry) -> Node[Entry] | None:
    if node is None:
        return None
    if node.below is None:
        entries = tuple(each for each in node.entries if each != entry)
        return Node(entries) if entries else None
    child = _remove(node.below.get(key[at]), key, at + 1, entry)
    if child is not None:
        return Node((), node.below.set(key[at], child))
    below = node.below.delete(key[at]) if key[at] in node.below else node.below
    return Node((), below) if below else None
