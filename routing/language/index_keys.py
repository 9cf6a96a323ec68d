"""Index keys: the host, path segments and method that a request must have for a rule to accept it.

Each part of a key may be "any". A key may include requests that the rule refuses, because the rule
decides in the end; it never excludes a request that the rule accepts.

The module belongs to the language, not to the tables: the predicates of ``vocabulary``, ``paths``
and ``segments`` compute their own keys, and the tables above only store them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Marker:
    """An element of a key that is no literal text."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ANY = Marker("ANY")
"""Any host, any method, or any one segment."""
END = Marker("END")
"""The path ends here."""
REST = Marker("REST")
"""The path may go on here."""

Element = str | Marker
Path = tuple[Element, ...]
IndexKey = tuple[Element, Path, Element]
"""Host; path, ending in END or REST; method."""
IndexKeys = tuple[IndexKey, ...]

CATCH_ALL_KEY: IndexKey = (ANY, (REST,), ANY)
CATCH_ALL: IndexKeys = (CATCH_ALL_KEY,)
MAX_KEYS = 64
"""Keys of one rule; as many as it has predicates."""


def keys_of_all(children: Sequence[IndexKeys]) -> IndexKeys:
    """Return the keys of a conjunction."""
    keys = children[0]
    for other in children[1:]:
        if other is not CATCH_ALL and len(keys) * len(other) <= MAX_KEYS:
            keys = tuple([_intersection(left, right) for left in keys for right in other])
    return keys


def keys_of_any(children: Iterable[IndexKeys]) -> IndexKeys:
    """Return the keys of a disjunction."""
    keys = tuple(dict.fromkeys(key for child in children for key in child))
    return keys if len(keys) <= MAX_KEYS else CATCH_ALL


def _intersection(key: IndexKey, other: IndexKey) -> IndexKey:
    host, path, method = key
    other_host, other_path, other_method = other
    return (
        other_host if host is ANY else host,
        _narrower(path, other_path),
        other_method if method is ANY else method,
    )


def _narrower(path: Path, other: Path) -> Path:
    if path[-1] is REST and (other[-1] is END or len(other) > len(path)):
        return other
    return path
