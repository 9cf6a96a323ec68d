"""Names in groups: persistent sets of names by what those of one group have in common."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from immutables import Map, MapMutation

Key = TypeVar("Key", bound=Hashable)

Names = Map[str, None]
"""A persistent set."""

_EMPTY: Names = Map()


def put_in(groups: MapMutation[Key, Names], key: Key, name: str) -> None:
    """Put a name into a group, which is made if there is none."""
    groups[key] = groups.get(key, _EMPTY).set(name, None)


def take_out(groups: MapMutation[Key, Names], key: Key, name: str) -> None:
    """Take a name out of the group it is in; a group of nobody goes."""
    left = groups[key].delete(name)
    if left:
        groups[key] = left
    else:
        del groups[key]
