"""An immutable index from request keys to whatever is stored under rule keys.

A rule key is a host, path segments and a method, with marks for "any". The index is a trie over
these elements that splits a node only when more than a few entries meet there, so a thousand apps
below different first segments take one node each, and a request looks at only those nodes its own
elements lead to. The index narrows, it never decides: whoever asks must still ask the predicate.

Every change returns a new trie that shares all untouched nodes with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar, Union

from immutables import Map

from routing.facts import Facts
from routing.keys import ANY, END, REST, Element, Key
from routing.keytree import Beginnings, KeyTree

Entry = TypeVar("Entry")

# Asking three more candidates costs less than three more steps down.
SPLIT_ABOVE = 3

Leaf: TypeAlias = tuple[Entry, ...]
Trie: TypeAlias = Union["Node[Entry]", "WideNode[Entry]", Leaf[Entry]]
"""A node, or where the trie is not split: the entries, perhaps none."""

Elements = tuple[Element, ...]
KeysOf = Callable[[Entry], KeyTree]

# Up to so many names a node is a dictionary, which a change copies: it is asked in half the time
# of a persistent map, and lies in one place.
NARROW = 128


_NO_NAMES: Mapping[str, Any] = {}


class Node(dict[str, "Trie[Entry]"], Generic[Entry]):
    """Where the trie is split by one element of keys: what is below by text.

    Attributes:
        unnamed: What is below for any text.
        end: What is below for a path that ends here.
        rest: What is below for a path that ends here or goes on.
    """

    # The marks have places of their own: a look into a map costs ten times as much, and most
    # nodes of most requests are asked for all of them.
    __slots__ = ("end", "rest", "unnamed")

    def __init__(self, named: Mapping[str, Trie[Entry]] = _NO_NAMES) -> None:
        """Make a node with nothing but names."""
        super().__init__(named)
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __bool__(self) -> bool:
        """Say that there is something, though it may be nothing by name."""
        return True

    def with_name(self, name: str, below: Trie[Entry]) -> AnyNode[Entry]:
        """Return this with something else below for one name, or with nothing."""
        changed = Node(self)
        if below:
            changed[name] = below
        else:
            changed.pop(name, None)
        return changed if len(changed) <= NARROW else WideNode(Map(changed))

    def copy(self) -> Node[Entry]:
        """Return one with the same names."""
        return Node(self)


class WideNode(Generic[Entry]):
    """A node with many names: these are in a map that shares all else when one changes.

    Attributes:
        get: Returns what is below by text, or None.
        unnamed: As in ``Node``, and so are the rest.
    """

    __slots__ = ("_named", "end", "get", "rest", "unnamed")

    def __init__(self, named: Map[str, Trie[Entry]]) -> None:
        """Make a node with nothing but names."""
        self._named = named
        self.get = named.get
        self.unnamed: Trie[Entry] = ()
        self.end: Trie[Entry] = ()
        self.rest: Trie[Entry] = ()

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self._named)

    def __bool__(self) -> bool:
        """Say that there is something, though it may be nothing by name."""
        return True

    def with_name(self, name: str, below: Trie[Entry]) -> WideNode[Entry]:
        """Return this with something else below for one name, or with nothing."""
        if below:
            return WideNode(self._named.set(name, below))
        return WideNode(self._named.delete(name)) if name in self._named else self.copy()

    def copy(self) -> WideNode[Entry]:
        """Return one with the same names."""
        return WideNode(self._named)


AnyNode: TypeAlias = Node[Entry] | WideNode[Entry]


def _below(node: AnyNode[Entry], element: Element) -> Trie[Entry]:
    """Return what is below a node for one element."""
    if isinstance(element, str):
        return node.get(element) or ()
    return node.unnamed if element is ANY else node.end if element is END else node.rest


def _replaced(node: AnyNode[Entry], element: Element, below: Trie[Entry]) -> AnyNode[Entry]:
    """Return a node with something else below for one element, or with nothing."""
    changed = node.with_name(element, below) if isinstance(element, str) else node.copy()
    changed.unnamed = below if element is ANY else node.unnamed
    changed.end = below if element is END else node.end
    changed.rest = below if element is REST else node.rest
    return changed


def _is_empty(node: AnyNode[Entry]) -> bool:
    return not (len(node) or node.unnamed or node.end or node.rest)


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
            trie = _below(trie, element)
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
            below = self._insert(_below(trie, element), keys, following, at, entry)
            trie = _replaced(trie, element, below)
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
    nodes: list[AnyNode[Entry]] = []
    if isinstance(root, tuple):
        return list(root)
    _go_to(root.unnamed, nodes, found)
    # Most platforms name no host in their rules: then it is not even read.
    if len(root):
        _go_to(root.get(facts.host) or (), nodes, found)
    for segment in facts.segments:
        if not nodes:
            return found
        nodes = _further(nodes, segment, facts.method, found)
    for node in nodes:
        _collect(node.end, facts.method, found)
        _collect(node.rest, facts.method, found)
    return found


def _further(
    nodes: list[AnyNode[Entry]], segment: str, method: str, found: list[Entry]
) -> list[AnyNode[Entry]]:
    """Return the nodes one segment further down, and collect what is found on the way."""
    below: list[AnyNode[Entry]] = []
    for node in nodes:
        if node.rest:
            _collect(node.rest, method, found)
        if node.unnamed:
            _go_to(node.unnamed, below, found)
        named = node.get(segment)
        if named is not None:
            _go_to(named, below, found)
    return below


def _go_to(trie: Trie[Entry], nodes: list[AnyNode[Entry]], found: list[Entry]) -> None:
    if isinstance(trie, tuple):
        found += trie
    else:
        nodes.append(trie)


def _collect(trie: Trie[Entry], method: str, found: list[Entry]) -> None:
    """Collect what is found where a path ends: only a method can still part it."""
    below = (trie,) if isinstance(trie, tuple) else (trie.unnamed, trie.get(method) or ())
    for each in below:
        if isinstance(each, tuple):
            found += each


def _remove(trie: Trie[Entry], keys: KeyTree, beginnings: Beginnings, entry: Entry) -> Trie[Entry]:
    if isinstance(trie, tuple):
        return tuple([each for each in trie if each != entry])
    for element, following in keys.following(beginnings):
        below = _remove(_below(trie, element), keys, following, entry)
        trie = _replaced(trie, element, below)
    return () if _is_empty(trie) else trie
