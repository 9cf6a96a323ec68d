"""An immutable index: from the keys of requests to the entries stored under the keys of rules.

A rule key is a host, path segments and a method, each perhaps "any". The index is a trie over these
elements that splits a node only when more than a few entries meet there. Therefore a thousand apps
below different first segments take one node each, and a request visits only the nodes that its own
elements lead to. The index narrows and never decides: the caller must still match the predicate.

Every change returns a new trie that shares all unchanged nodes with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, Generic, TypeAlias, TypeVar, Union

from immutables import Map

from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, REST, Element, IndexKey
from routing.table.key_trie import KeyNode, KeyTrie

Entry = TypeVar("Entry", bound=Hashable)

# Matching three more candidates costs less than three more steps down the trie.
SPLIT_ABOVE = 3

Leaf: TypeAlias = tuple[Entry, ...] | Map[Entry, None]
"""Entries; in a persistent map if many have one key, as a change must not copy all of them."""
Trie: TypeAlias = Union["Node[Entry]", "WideNode[Entry]", Leaf[Entry]]
"""A node; or the entries, perhaps none, where the trie is not split. No tuple is long."""

_LEAF: Final = (tuple, Map)
Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], KeyTrie]

# Up to this many names a node is a dictionary, which a change copies. A dictionary takes half the
# time of a persistent map to read and lies in one piece of memory.
NARROW = 128


_NO_NAMES: Mapping[str, Any] = {}


class Node(dict[str, "Trie[Entry]"], Generic[Entry]):
    """A split by one element of the keys: the dictionary holds the trie below each text.

    Attributes:
        unnamed: The trie below for any text.
        end: The trie below for a path that ends here.
        rest: The trie below for a path that ends here or goes on.
    """

    # The marks are attributes, not keys of the dictionary: a look-up takes ten times as long, and
    # most requests read all of them at most nodes.
    __slots__ = ("end", "rest", "unnamed")

    def __init__(self, named: Mapping[str, Trie[Entry]] = _NO_NAMES) -> None:
        super().__init__(named)
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __bool__(self) -> bool:
        """Return True: a node without names may still hold entries."""
        return True

    def with_name(self, name: str, below: Trie[Entry]) -> AnyNode[Entry]:
        """Return a copy with another trie below one name, or without the name if it is empty."""
        changed = Node(self)
        if below:
            changed[name] = below
        else:
            changed.pop(name, None)
        return changed if len(changed) <= NARROW else WideNode(Map(changed))

    def copy(self) -> Node[Entry]:
        """Return a node with the same names."""
        return Node(self)


class WideNode(Generic[Entry]):
    """A node with many names, in a persistent map: a change of one name shares the rest.

    Attributes:
        get: Function that returns the trie below a text, or None.
        unnamed: As in ``Node``.
        end: As in ``Node``.
        rest: As in ``Node``.
    """

    __slots__ = ("_named", "end", "get", "rest", "unnamed")

    def __init__(self, named: Map[str, Trie[Entry]]) -> None:
        self._named = named
        self.get = named.get
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __len__(self) -> int:
        return len(self._named)

    def __bool__(self) -> bool:
        """Return True: a node without names may still hold entries."""
        return True

    def with_name(self, name: str, below: Trie[Entry]) -> WideNode[Entry]:
        """Return a copy with another trie below one name, or without the name if it is empty."""
        if below:
            return WideNode(self._named.set(name, below))
        return WideNode(self._named.delete(name)) if name in self._named else self.copy()

    def copy(self) -> WideNode[Entry]:
        """Return a node with the same names."""
        return WideNode(self._named)


AnyNode: TypeAlias = Node[Entry] | WideNode[Entry]


class Index(Generic[Entry]):
    """An index: a trie and the function that it needs to split.

    Args:
        keys_of: Function that returns all keys of an entry. The keys must not change while the
            entry is in the index.
        root: Root of the trie.
    """

    __slots__ = ("_keys_of", "_root")

    def __init__(self, keys_of: KeysOf[Entry], root: Trie[Entry] = ()) -> None:
        self._keys_of = keys_of
        self._root = root

    @property
    def root(self) -> Trie[Entry]:
        """Root of the trie."""
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
        """Return every entry that could accept the request, unsorted, some perhaps twice."""
        return candidates(self._root, facts)

    def candidates_for_key(self, key: IndexKey) -> list[Entry]:
        """Return every entry that has ``key``, and perhaps others."""
        host, path, method = key
        trie = self._root
        for element in (host, *path, method):
            if isinstance(trie, _LEAF):
                break
            trie = _below(trie, element)
        return list(trie) if isinstance(trie, _LEAF) else []

    def _insert(
        self,
        trie: Trie[Entry],
        keys: KeyTrie,
        node: KeyNode,
        prefix: Elements,
        entry: Entry,
    ) -> Trie[Entry]:
        if isinstance(trie, _LEAF):
            return self._with_entry(trie, prefix, entry, is_end=not node)
        for element, child in keys.children(node):
            at = (*prefix, element)
            below = self._insert(_below(trie, element), keys, child, at, entry)
            trie = _replaced(trie, element, below)
        return trie

    def _with_entry(
        self, leaf: Leaf[Entry], prefix: Elements, entry: Entry, *, is_end: bool
    ) -> Trie[Entry]:
        if isinstance(leaf, Map):
            return leaf.set(entry, None)
        if entry in leaf:
            return leaf
        entries = (*leaf, entry)
        if len(entries) > SPLIT_ABOVE and not is_end:
            return self._split(entries, prefix)
        return entries if len(entries) <= NARROW else Map(dict.fromkeys(entries))

    def _split(self, leaf: tuple[Entry, ...], prefix: Elements) -> Trie[Entry]:
        # No key is the beginning of another key, so every entry has a further element.
        split: Trie[Entry] = Node()
        for entry in leaf:
            keys = self._keys_of(entry)
            for node in keys.nodes_at(prefix):
                split = self._insert(split, keys, node, prefix, entry)
        return split


def candidates(root: Trie[Entry], facts: Facts) -> list[Entry]:
    """Return the entries that the elements of the request lead to, some perhaps twice."""
    found: list[Entry] = []
    nodes: list[AnyNode[Entry]] = []
    if isinstance(root, _LEAF):
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
            if isinstance(branch, _LEAF):
                found += branch


def _remove(trie: Trie[Entry], keys: KeyTrie, node: KeyNode, entry: Entry) -> Trie[Entry]:
    if isinstance(trie, tuple):
        return tuple([other for other in trie if other != entry])
    if isinstance(trie, Map):
        left = trie.delete(entry) if entry in trie else trie
        return left if len(left) > NARROW else tuple(left)
    for element, child in keys.children(node):
        below = _remove(_below(trie, element), keys, child, entry)
        trie = _replaced(trie, element, below)
    return () if _is_empty(trie) else trie


def _below(node: AnyNode[Entry], element: Element) -> Trie[Entry]:
    if isinstance(element, str):
        return node.get(element) or ()
    return node.unnamed if element is ANY else node.end if element is END else node.rest


def _replaced(node: AnyNode[Entry], element: Element, below: Trie[Entry]) -> AnyNode[Entry]:
    """Return a copy of a node with another trie below one element."""
    changed = node.with_name(element, below) if isinstance(element, str) else node.copy()
    changed.unnamed = below if element is ANY else node.unnamed
    changed.end = below if element is END else node.end
    changed.rest = below if element is REST else node.rest
    return changed


def _is_empty(node: AnyNode[Entry]) -> bool:
    return not (len(node) or node.unnamed or node.end or node.rest)
