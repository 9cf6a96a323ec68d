"""Adapters and drivers that are found by their entry points, the built-in ones included."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from kubefox.errors import NotFound


def names(group: str) -> list[str]:
    """Return the names that are installed in an entry-point group, sorted."""
    return sorted({entry_point.name for entry_point in _installed(group)})


def load(group: str, name: str) -> Any:
    """Return the object that an entry point names.

    This imports modules, so it must not be called within an event loop.

    Raises:
        NotFound: The name is not installed.
    """
    for entry_point in _installed(group):
        if entry_point.name == name:
            return entry_point.load()
    raise NotFound(f"{group} {name!r} is not installed; installed are: {', '.join(names(group))}")


def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))
