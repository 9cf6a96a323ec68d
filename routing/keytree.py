"""Index keys merged by what they begin with: how an index takes in all rules of an app at once.

The ten rules of an app mostly begin alike, and an index rarely looks further than that beginning,
so it is looked at once. The tree is made once for a set of rules, with stand-ins where the values
of an environment come in; these are put in only as far as the index follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from routing.keys import Element, Key

Beginnings: TypeAlias = dict[Element, "Beginnings"]
"""What keys begin with, and what may follow each; nothing may follow the end of a key."""

NO_WORDS: Mapping[Element, str] = {}


class KeyTree:
    """All keys of one entry of an index.

    Attributes:
        root: Where they begin.
    """

    __slots__ = ("_words", "root")

    def __init__(self, root: Beginnings, words: Mapping[Element, str] = NO_WORDS) -> None:
        """Make a tree; ``words`` says which word each stand-in is for."""
        self.root = root
        self._words = words

    def following(self, beginnings: Beginnings) -> list[tuple[Element, Beginnings]]:
        """Return the elements that may come next, some perhaps twice, and what follows each."""
        words = self._words
        return [(words.get(element, element), below) for element, below in beginnings.items()]

    def after(self, prefix: Iterable[Element]) -> list[Beginnings]:
        """Return all that may follow some elements."""
        found = [self.root]
        for wanted in prefix:
            found = [
                below
                for each in found
                for element, below in self.following(each)
                if element == wanted
            ]
        return found


NO_KEYS = KeyTree({})


def merged(keys: Iterable[Key]) -> Beginnings:
    """Return what keys begin with."""
    root: Beginnings = {}
    for host, path, method in keys:
        beginnings = root
        for element in (host, *path, method):
            beginnings = beginnings.setdefault(element, {})
    return root
