"""The index keys of one app, merged by their common beginnings.

The rules of an app mostly begin alike, and an index rarely looks beyond that beginning. In a trie
the index visits each beginning once, not once for each rule. One trie serves all environments of a
rule set: it holds stand-ins for the environments' values, and only the elements that the index
visits are substituted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from routing.language.index_keys import Element, IndexKey

KeyNode: TypeAlias = dict[Element, "KeyNode"]
"""The elements that may come next, each with the node after it; empty at the end of a key."""

Substitutes: TypeAlias = Mapping[Element, tuple[Element, ...]]
"""The elements that take the place of each stand-in: the texts of a value, or ANY."""

NO_SUBSTITUTES: Substitutes = {}


class KeyTrie:
    """All keys of one entry of an index.

    Args:
        root: The node of the first elements.
        substitutes: Elements for each stand-in.

    Attributes:
        root: The node of the first elements.
    """

    __slots__ = ("__weakref__", "_substitutes", "root")

    def __init__(self, root: KeyNode, substitutes: Substitutes = NO_SUBSTITUTES) -> None:
        self.root = root
        self._substitutes = substitutes

    def children(self, node: KeyNode) -> list[tuple[Element, KeyNode]]:
        """Return the elements that may come next, some perhaps twice, and the node after each."""
        substitutes = self._substitutes
        return [
            (substitute, child)
            for element, child in node.items()
            for substitute in substitutes.get(element) or (element,)
        ]

    def nodes_at(self, prefix: Iterable[Element]) -> list[KeyNode]:
        """Return all nodes that some elements lead to."""
        nodes = [self.root]
        for wanted in prefix:
            nodes = [
                child
                for node in nodes
                for element, child in self.children(node)
                if element == wanted
            ]
        return nodes


NO_KEYS = KeyTrie({})


def merge_keys(keys: Iterable[IndexKey]) -> KeyNode:
    """Return the root of the trie of some keys."""
    root: KeyNode = {}
    for host, path, method in keys:
        node = root
        for element in (host, *path, method):
            node = node.setdefault(element, {})
    return root
