"""Index keys: what is known of a request before a rule is asked.

A key says which requests a rule could accept: a host, the segments of the path, a method, each
perhaps any. It may promise too much, never too little, for the rule itself decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Mark:
    """An element of a key that is not text."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """Keep a name for people."""
        self._name = name

    def __repr__(self) -> str:
        """Return the name."""
        return self._name


ANY = Mark("ANY")
"""Any host, any method, or any one segment."""
END = Mark("END")
"""The path ends here."""
REST = Mark("REST")
"""The path may go on here."""

Element = str | Mark
Path = tuple[Element, ...]
Key = tuple[Element, Path, Element]
"""Host, path up to and with END or REST, method."""
Keys = tuple[Key, ...]

ANYTHING: Key = (ANY, (REST,), ANY)
EVERYTHING: Keys = (ANYTHING,)
MAX_KEYS = 1_024


def keys_of_all(children: Sequence[Keys]) -> Keys:
    """Return the keys of what every child accepts."""
    keys = children[0]
    for other in children[1:]:
        if other is not EVERYTHING and len(keys) * len(other) <= MAX_KEYS:
            keys = tuple([_both(mine, its) for mine in keys for its in other])
    return keys


def keys_of_any(children: Iterable[Keys]) -> Keys:
    """Return the keys of what some child accepts."""
    keys = tuple(dict.fromkeys(key for child in children for key in child))
    return keys if len(keys) <= MAX_KEYS else EVERYTHING


def _both(key: Key, other: Key) -> Key:
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
