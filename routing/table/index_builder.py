"""Makes the next trie of an index: ``routing.table.index``.

The trie before stays as it is. A node of it is copied before its first change; the copies, and new
nodes, are changed in place until the builder is finished. So a process that starts with 100,000
releases does not copy the path to each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from immutables import Map

from routing.language.index_keys import ANY, END, Element
from routing.table.index import (
    LEAF,
    NARROW,
    SPLIT_ABOVE,
    AnyNode,
    Entry,
    Leaf,
    NamedTries,
    Node,
    Trie,
    WideNode,
    trie_below,
)
from routing.table.key_trie import KeyNode, KeyTrie

Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], KeyTrie]


class IndexBuilder(Generic[Entry]):
    """Adds entries to a trie, and removes some.

    Args:
        keys_of: Function that returns all keys of an entry. The keys must not change while the
            entry is in the index.
        root: Root of the trie to start from.
    """

    def __init__(self, keys_of: KeysOf[Entry], root: Trie[Entry] = ()) -> None:
        self._keys_of = keys_of
        self._root = root
        # Nodes refer to this object, not to the builder, which would stay in memory.
        self._owner = object()
        self._wide: list[WideNode[Entry]] = []

    def add(self, entry: Entry) -> None:
        """Add ``entry`` under all its keys.

        Raises:
            Unprepared: Of the function of the keys; call this again when they are made.
        """
        keys = self._keys_of(entry)
        if keys.root:
            self._root = self._insert(self._root, keys, keys.root, (), entry)

    def remove(self, entry: Entry) -> None:
        """Remove ``entry``.

        Raises:
            Unprepared: As of ``add``.
        """
        keys = self._keys_of(entry)
        self._root = self._without(self._root, keys, keys.root, entry)

    def finish(self) -> Trie[Entry]:
        """Return the root of the next trie; the builder cannot be used afterwards."""
        for node in self._wide:
            node.put_names(node.named.finish())
        return self._root

    def _insert(
        self, trie: Trie[Entry], keys: KeyTrie, node: KeyNode, prefix: Elements, entry: Entry
    ) -> Trie[Entry]:
        if isinstance(trie, LEAF):
            return self._with_entry(trie, prefix, entry, is_end=not node)
        for element, child in keys.children(node):
            at = (*prefix, element)
            below = self._insert(trie_below(trie, element), keys, child, at, entry)
            trie = self._replaced(trie, element, below)
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
        split: Trie[Entry] = Node(owner=self._owner)
        for entry in leaf:
            keys = self._keys_of(entry)
            for node in keys.nodes_at(prefix):
                split = self._insert(split, keys, node, prefix, entry)
        return split

    def _without(
        self, trie: Trie[Entry], keys: KeyTrie, node: KeyNode, entry: Entry
    ) -> Trie[Entry]:
        if isinstance(trie, tuple):
            return tuple([other for other in trie if other != entry])
        if isinstance(trie, Map):
            left = trie.delete(entry) if entry in trie else trie
            return left if len(left) > NARROW else tuple(left)
        for element, child in keys.children(node):
            below = self._without(trie_below(trie, element), keys, child, entry)
            trie = self._replaced(trie, element, below)
        return () if _is_empty(trie) else trie

    def _replaced(
        self, node: AnyNode[Entry], element: Element, below: Trie[Entry]
    ) -> AnyNode[Entry]:
        """Return a node with another trie below one element: itself if it may be changed."""
        if node.owner is not self._owner:
            node = self._copy(node)
        if isinstance(element, str):
            return self._renamed(node, element, below)
        if element is ANY:
            node.unnamed = below
        elif element is END:
            node.end = below
        else:
            node.rest = below
        return node

    def _renamed(self, node: AnyNode[Entry], name: str, below: Trie[Entry]) -> AnyNode[Entry]:
        """Return the node with another trie below a name, or without the name if it is empty."""
        names: NamedTries = node if isinstance(node, Node) else node.named
        if below:
            names[name] = below
        else:
            names.pop(name, None)
        if isinstance(node, Node) and len(node) > NARROW:
            return self._opened(Map(node), node)
        return node

    def _copy(self, node: AnyNode[Entry]) -> AnyNode[Entry]:
        if isinstance(node, WideNode):
            return self._opened(node.named, node)
        copied = Node(node, self._owner)
        _copy_marks(node, copied)
        return copied

    def _opened(self, named: NamedTries, node: AnyNode[Entry]) -> WideNode[Entry]:
        """Return a wide node with these names, to be changed in place."""
        wide = WideNode[Entry](named.mutate(), self._owner)
        _copy_marks(node, wide)
        self._wide.append(wide)
        return wide


def _copy_marks(before: AnyNode[Entry], after: AnyNode[Entry]) -> None:
    after.unnamed, after.end, after.rest = before.unnamed, before.end, before.rest


def _is_empty(node: AnyNode[Entry]) -> bool:
    return not (len(node) or node.unnamed or node.end or node.rest)
