"""Groups of members by a key, changed in place."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class MemberGroups(Generic[Key]):
    """Names by a key.

    Most groups have one member, so that is kept without a set: a set of one takes 216 bytes.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[Key, str | set[str]] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._groups

    def __iter__(self) -> Iterator[Key]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    def of(self, key: Key) -> Collection[str]:
        """Return the members of a group; valid until the group changes."""
        found = self._groups.get(key)
        if found is None:
            return ()
        return (found,) if isinstance(found, str) else found

    def add(self, key: Key, member: str) -> None:
        """Add a member to a group, and create the group if necessary."""
        found = self._groups.setdefault(key, member)
        if isinstance(found, set):
            found.add(member)
        elif found != member:
            self._groups[key] = {found, member}

    def remove(self, key: Key, member: str) -> None:
        """Remove a member of a group, and the group if it is empty then."""
        found = self._groups[key]
        if isinstance(found, str):
            del self._groups[key]
            return
        found.remove(member)
        if len(found) == 1:
            self._groups[key] = found.pop()
