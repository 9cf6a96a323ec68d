"""Parts that are found by their entry points, the built-in ones included."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from model.errors import NotFound


def names(group: str) -> list[str]:
    """Return the names of all that is installed in an entry-point group, sorted."""
    return sorted({each.name for each in _installed(group)})


def load(group: str, name: str) -> Any:
    """Return what an entry point names. It is imported, so not within an event loop.

    Raises:
        NotFound: Nothing of this name is installed.
    """
    for each in _installed(group):
        if each.name == name:
            return each.load()
    raise NotFound(f"{group} has no {name!r} installed: there are {', '.join(names(group))}")


def _installed(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))
