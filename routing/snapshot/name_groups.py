"""Persistent sets of names, grouped by a key.

Most groups have one name: the virtual environment that a deployment is released in, or the
deployment of a commit. A tuple of one takes 48 B, a persistent map 200 B.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from immutables import Map, MapMutation

Key = TypeVar("Key", bound=Hashable)

NameSet = Map[str, None]
"""A persistent set."""

Names = tuple[str, ...] | NameSet
"""The names of a group, to iterate over: a tuple if they are few."""

MAX_TUPLE = 8
"""Above this many names, a change of a group must not copy all of them."""


def add_name(groups: MapMutation[Key, Names], key: Key, name: str) -> None:
    """Add a name to a group and create the group if necessary."""
    names = groups.get(key, ())
    if isinstance(names, Map):
        groups[key] = names.set(name, None)
    elif name not in names:
        more = (*names, name)
        groups[key] = more if len(more) <= MAX_TUPLE else Map(dict.fromkeys(more))


def remove_name(groups: MapMutation[Key, Names], key: Key, name: str) -> None:
    """Remove a name from its group, and the group if it is empty then."""
    names = groups[key]
    if isinstance(names, Map):
        left = names.delete(name)
        groups[key] = left if len(left) > MAX_TUPLE else tuple(left)
    elif len(names) > 1:
        groups[key] = tuple([other for other in names if other != name])
    else:
        del groups[key]
