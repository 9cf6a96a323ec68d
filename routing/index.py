"""An immutable index from request keys to whatever is stored under rule keys.

A rule key is a host, path segments and a method, with marks for "any". The index is a trie over
these elements that splits a node only when more than a few entries meet there, so a thousand apps
below different first segments take one node each, and a request looks at only those nodes its own
elements lead to. The index narrows, it never decides: whoever asks must still ask the predicate.

Every change returns a new trie that shares all untouched nodes with the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from immutables import Map

from routing.facts import Facts
from routing.keys import ANY, END, REST, Element, Key
from routing.keytree import Beginnings, KeyTree

Entry = TypeVar("Entry")

# Asking three more candidates costs less than three more steps down.
SPLIT_ABOVE = 3

Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], KeyTree]

_NONE: Map[str, Any] = Map()


class Node(Generic[Entry]):
    """A node is a leaf, which has entries, or is split into the nodes below it.

    Attributes:
        entries: Of a leaf, at least one; of others none.
        named: Nodes below by text.
        unnamed: The node below for any text, or None.
        end: The node below for a path that ends here, or None.
        rest: The node below for a path that ends here or goes on, or None.
    """

    # The marks have places of their own: a look into a map costs ten times as much, and most
    # nodes of most requests are asked for all of them.
    __slots__ = ("end", "entries", "named", "rest", "unnamed")

    def __init__(
        self,
        entries: tuple[Entry, ...] = (),
        named: Map[str, Node[Entry]] = _NONE,
        unnamed: Node[Entry] | None = None,
        end: Node[Entry] | None = None,
        rest: Node[Entry] | None = None,
    ) -> None:
        """Make a node."""
        self.entries = entries
        self.named = named
        self.unnamed = unnamed
        self.end = end
        self.rest = rest

    def below(self, element: Element) -> Node[Entry] | None:
        """Return the node below for one element."""
        if isinstance(element, str):
            return self.named.get(element)
        return self.unnamed if element is ANY else self.end if element is END else self.rest

    def replaced(self, element: Element, below: Node[Entry] | None) -> Node[Entry]:
        """Return this with another node below for one element, or with none."""
        if isinstance(element, str):
            named = self.named
            if below is not None:
                named = named.set(element, below)
            elif element in named:
                named = named.delete(element)
            return Node((), named, self.unnamed, self.end, self.rest)
        return Node(
            (),
            self.named,
            below if element is ANY else self.unnamed,
            below if element is END else self.end,
            below if element is REST else self.rest,
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing here and below."""
        return not (self.entries or self.named or self.unnamed or self.end or self.rest)


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
        keys = self._keys_of(entry)
        if not keys.root:
            return self
        return Index(self._keys_of, self._insert(self._root, keys, keys.root, (), entry))

    def removed(self, entry: Entry) -> Index[Entry]:
        """Return the index without ``entry``."""
        keys = self._keys_of(entry)
        return Index(self._keys_of, _remove(self._root, keys, keys.root, entry))

    def candidates(self, facts: Facts) -> list[Entry]:
        """Return every entry that could accept the request, some perhaps twice, in no order."""
        return [] if self._root is None else candidates(self._root, facts)

    def near(self, key: Key) -> list[Entry]:
        """Return every entry whose keys include ``key``, and perhaps others."""
        host, path, method = key
        found: list[Entry] = []
        node = self._root
        for element in (host, *path, method):
            if node is None:
                return found
            found += node.entries
            node = node.below(element)
        return [*found, *node.entries] if node else found

    def _insert(
        self,
        node: Node[Entry] | None,
        keys: KeyTree,
        beginnings: Beginnings,
        prefix: Elements,
        entry: Entry,
    ) -> Node[Entry]:
        if node is None:
            return Node((entry,))
        if not node.entries:
            for element, following in keys.following(beginnings):
                at = (*prefix, element)
                below = self._insert(node.below(element), keys, following, at, entry)
                node = node.replaced(element, below)
            return node
        if entry in node.entries:
            return node
        grown = Node((*node.entries, entry))
        is_end = not beginnings
        return grown if is_end or len(grown.entries) <= SPLIT_ABOVE else self._split(grown, prefix)

    def _split(self, leaf: Node[Entry], prefix: Elements) -> Node[Entry]:
        # No key is the beginning of another, so every entry has a way down.
        split: Node[Entry] = Node()
        for entry in leaf.entries:
            keys = self._keys_of(entry)
            for beginnings in keys.after(prefix):
                split = self._insert(split, keys, beginnings, prefix, entry)
        return split


def candidates(root: Node[Entry], facts: Facts) -> list[Entry]:
    """Return what the nodes hold that the elements of the request lead to."""
    found = list(root.entries)
    nodes = _for_host(root, facts)
    for segment in facts.segments:
        nodes = _further(nodes, segment, facts.method, found)
        if not nodes:
            return found
    for node in nodes:
        found += node.entries
        if node.end is not None:
            _collect_method(node.end, facts.method, found)
        if node.rest is not None:
            _collect_method(node.rest, facts.method, found)
    return found


def _for_host(root: Node[Entry], facts: Facts) -> list[Node[Entry]]:
    nodes = [] if root.unnamed is None else [root.unnamed]
    # Most platforms name no host in their rules: then it is not even read.
    if root.named and (node := root.named.get(facts.host)) is not None:
        nodes.append(node)
    return nodes


def _further(
    nodes: list[Node[Entry]], segment: str, method: str, found: list[Entry]
) -> list[Node[Entry]]:
    """Return the nodes one segment further down, and collect what is found on the way."""
    below = []
    for node in nodes:
        found += node.entries
        if node.rest is not None:
            _collect_method(node.rest, method, found)
        if node.unnamed is not None:
            below.append(node.unnamed)
        if (child := node.named.get(segment)) is not None:
            below.append(child)
    return below


def _collect_method(node: Node[Entry], method: str, found: list[Entry]) -> None:
    found += node.entries
    if node.unnamed is not None:
        found += node.unnamed.entries
    if (child := node.named.get(method)) is not None:
        found += child.entries


def _remove(
    node: Node[Entry] | None, keys: KeyTree, beginnings: Beginnings, entry: Entry
) -> Node[Entry] | None:
    if node is None:
        return None
    if node.entries:
        entries = tuple([each for each in node.entries if each != entry])
        return Node(entries) if entries else None
    for element, following in keys.following(beginnings):
        below = _remove(node.below(element), keys, following, entry)
        node = node.replaced(element, below)
    return None if node.is_empty else node
