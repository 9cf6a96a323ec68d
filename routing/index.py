"""An immutable index from request keys to whatever is stored under rule keys.

A rule key is a host, path segments and a method, with marks for "any". The index is a trie over
these elements that splits a node only when more than a few entries meet there, so a thousand apps
below different first segments take one node each, and a request looks at only those nodes its own
elements lead to. The index narrows, it never decides: whoever asks must still ask the predicate.

Every change returns a new trie that shares all untouched nodes with the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar, Union

from immutables import Map

from routing.facts import Facts
from routing.keys import ANY, END, REST, Element, Key
from routing.keytree import Beginnings, KeyTree

Entry = TypeVar("Entry")

# Asking three more candidates costs less than three more steps down.
SPLIT_ABOVE = 3

Leaf: TypeAlias = tuple[Entry, ...]
Trie: TypeAlias = Union["Node[Entry]", Leaf[Entry]]
"""A node, or where the trie is not split: the entries, perhaps none."""

Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], KeyTree]

# Up to so many names a node has them in a dictionary, which a change copies: it is asked in half
# the time of a persistent map, and lies in one place.
SMALL = 128

Named: TypeAlias = Union["dict[str, Trie[Entry]]", "Map[str, Trie[Entry]]"]
_NONE: dict[str, Any] = {}


class Node(Generic[Entry]):
    """Where the trie is split by one element of keys.

    Attributes:
        named: What is below by text.
        unnamed: What is below for any text.
        end: What is below for a path that ends here.
        rest: What is below for a path that ends here or goes on.
    """

    # The marks have places of their own: a look into a map costs ten times as much, and most
    # nodes of most requests are asked for all of them.
    __slots__ = ("end", "named", "rest", "unnamed")

    def __init__(
        self,
        named: Named[Entry] = _NONE,
        unnamed: Trie[Entry] = (),
        end: Trie[Entry] = (),
        rest: Trie[Entry] = (),
    ) -> None:
        """Make a node."""
        self.named = named
        self.unnamed = unnamed
        self.end = end
        self.rest = rest

    def below(self, element: Element) -> Trie[Entry]:
        """Return what is below for one element."""
        if isinstance(element, str):
            return self.named.get(element, ())
        return self.unnamed if element is ANY else self.end if element is END else self.rest

    def replaced(self, element: Element, below: Trie[Entry]) -> Node[Entry]:
        """Return this with something else below for one element, or with nothing."""
        if isinstance(element, str):
            named = _replaced(self.named, element, below)
            return Node(named, self.unnamed, self.end, self.rest)
        return Node(
            self.named,
            below if element is ANY else self.unnamed,
            below if element is END else self.end,
            below if element is REST else self.rest,
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is below."""
        return not (self.named or self.unnamed or self.end or self.rest)


def _replaced(named: Named[Entry], name: str, below: Trie[Entry]) -> Named[Entry]:
    """Return what is below by text with something else below one, or with nothing."""
    if isinstance(named, Map):
        if below:
            return named.set(name, below)
        return named.delete(name) if name in named else named
    changed = named.copy()
    if below:
        changed[name] = below
    else:
        changed.pop(name, None)
    return changed if len(changed) <= SMALL else Map(changed)


class Index(Generic[Entry]):
    """The trie and what it needs to split.

    Args:
        keys_of: All keys of an entry; the same for as long as the entry is in.
        root: Of the trie.
    """

    __slots__ = ("_keys_of", "_root")

    def __init__(self, keys_of: KeysOf[Entry], root: Trie[Entry] = ()) -> None:
        """Begin empty, or with the trie of another index."""
        self._keys_of = keys_of
        self._root = root

    @property
    def root(self) -> Trie[Entry]:
        """The whole trie."""
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
        return candidates(self._root, facts)

    def near(self, key: Key) -> list[Entry]:
        """Return every entry whose keys include ``key``, and perhaps others."""
        host, path, method = key
        trie = self._root
        for element in (host, *path, method):
            if isinstance(trie, tuple):
                break
            trie = trie.below(element)
        return list(trie) if isinstance(trie, tuple) else []

    def _insert(
        self,
        trie: Trie[Entry],
        keys: KeyTree,
        beginnings: Beginnings,
        prefix: Elements,
        entry: Entry,
    ) -> Trie[Entry]:
        if isinstance(trie, tuple):
            return self._grown(trie, prefix, entry, is_end=not beginnings)
        for element, following in keys.following(beginnings):
            at = (*prefix, element)
            below = self._insert(trie.below(element), keys, following, at, entry)
            trie = trie.replaced(element, below)
        return trie

    def _grown(
        self, leaf: Leaf[Entry], prefix: Elements, entry: Entry, *, is_end: bool
    ) -> Trie[Entry]:
        if entry in leaf:
            return leaf
        grown = (*leaf, entry)
        return grown if is_end or len(grown) <= SPLIT_ABOVE else self._split(grown, prefix)

    def _split(self, leaf: Leaf[Entry], prefix: Elements) -> Trie[Entry]:
        # No key is the beginning of another, so every entry has a way down.
        split: Trie[Entry] = Node()
        for entry in leaf:
            keys = self._keys_of(entry)
            for beginnings in keys.after(prefix):
                split = self._insert(split, keys, beginnings, prefix, entry)
        return split


def candidates(root: Trie[Entry], facts: Facts) -> list[Entry]:
    """Return what the elements of the request lead to."""
    found: list[Entry] = []
    nodes: list[Node[Entry]] = []
    if isinstance(root, tuple):
        return list(root)
    _go_to(root.unnamed, nodes, found)
    # Most platforms name no host in their rules: then it is not even read.
    if root.named:
        _go_to(root.named.get(facts.host, ()), nodes, found)
    for segment in facts.segments:
        if not nodes:
            return found
        nodes = _further(nodes, segment, facts.method, found)
    for node in nodes:
        _collect(node.end, facts.method, found)
        _collect(node.rest, facts.method, found)
    return found


def _further(
    nodes: list[Node[Entry]], segment: str, method: str, found: list[Entry]
) -> list[Node[Entry]]:
    """Return the nodes one segment further down, and collect what is found on the way."""
    below: list[Node[Entry]] = []
    for node in nodes:
        if node.rest:
            _collect(node.rest, method, found)
        if node.unnamed:
            _go_to(node.unnamed, below, found)
        named = node.named.get(segment)
        if named is not None:
            _go_to(named, below, found)
    return below


def _go_to(trie: Trie[Entry], nodes: list[Node[Entry]], found: list[Entry]) -> None:
    if isinstance(trie, tuple):
        found += trie
    else:
        nodes.append(trie)


def _collect(trie: Trie[Entry], method: str, found: list[Entry]) -> None:
    """Collect what is found where a path ends: only a method can still part it."""
    below = (trie,) if isinstance(trie, tuple) else (trie.unnamed, trie.named.get(method, ()))
    for each in below:
        if isinstance(each, tuple):
            found += each


def _remove(trie: Trie[Entry], keys: KeyTree, beginnings: Beginnings, entry: Entry) -> Trie[Entry]:
    if isinstance(trie, tuple):
        return tuple([each for each in trie if each != entry])
    for element, following in keys.following(beginnings):
        trie = trie.replaced(element, _remove(trie.below(element), keys, following, entry))
    return () if trie.is_empty else trie
