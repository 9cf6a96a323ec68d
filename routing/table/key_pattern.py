"""The index keys of a rule set with stand-ins for variables: an environment only substitutes them.

Computing keys rule by rule takes 130 µs for ten rules, and a starting platform does so for every
released app. Most values are one path segment, and most variables stand alone between two slashes.
Then the variable's position in the keys can be found once, by computing the keys of a stand-in.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from kubefox.steps import Steps
from routing.language.index_keys import ANY, CATCH_ALL, Element, IndexKey, IndexKeys
from routing.language.template import ResolvedValue, ResolvedValues, TooManyAlternatives
from routing.table.compiled_rule import AlternativesLimit, Rule
from routing.table.key_trie import KeyNode, KeyTrie, Substitutes, merge_keys

MAX_KEYS = 1_024
"""Keys of one app in the index."""
MAX_LISTED = 64
"""Texts of a list that an index tells apart. Behind a longer list, it finds every request."""


class KeyPattern:
    """The keys of some rules. Made by ``key_pattern``.

    Args:
        rules: The rules.
        stand_ins: The stand-in of each variable.
        root: Root of the keys with stand-ins; None if some value needs more than a substitution.
    """

    __slots__ = ("_root", "_rules", "_stand_ins")

    def __init__(
        self, rules: Sequence[Rule], stand_ins: Mapping[str, str], root: KeyNode | None
    ) -> None:
        self._rules = rules
        self._stand_ins = stand_ins
        self._root = root

    def known_keys(self, values: ResolvedValues) -> KeyTrie | None:
        """Return the keys for some values, or None if the rules must be read: ``keys``."""
        if self._root is None:
            return None
        substitutes = self._substitutes(values)
        return None if substitutes is None else KeyTrie(self._root, substitutes)

    def keys(self, values: ResolvedValues) -> Steps[KeyTrie]:
        """Make the keys for some values in steps; a rule that lacks a value has no keys."""
        known = self.known_keys(values)
        if known is not None:
            return known
        return KeyTrie(merge_keys((yield from _keys_of(self._rules, values))))

    def _substitutes(self, values: ResolvedValues) -> Substitutes | None:
        """Return the elements for each stand-in, or None if a value is missing or no segment."""
        substitutes: dict[Element, tuple[Element, ...]] = {}
        for name, stand_in in self._stand_ins.items():
            value = values.get(name)
            if value is None or value.segment is None:
                return None
            texts: tuple[Element, ...] = value.texts
            if len(texts) > 1:
                texts = (ANY,) if len(texts) > MAX_LISTED else tuple(dict.fromkeys(texts))
            substitutes[stand_in] = texts
        return substitutes


def key_pattern(rules: Sequence[Rule]) -> Steps[KeyPattern]:
    """Make the keys of some rules with stand-ins for variables, one rule in each step."""
    names = sorted({name for rule in rules for name in rule.variables})
    stand_ins = {name: _stand_in(number) for number, name in enumerate(names)}
    values = {
        name: ResolvedValue((stand_in,), segment=stand_in) for name, stand_in in stand_ins.items()
    }
    keys = yield from _keys_of(rules, values)
    known = set(stand_ins.values())
    is_substitutable = all(_is_substitutable(key, known) for key in keys)
    return KeyPattern(rules, stand_ins, merge_keys(keys) if is_substitutable else None)


def _is_substitutable(key: IndexKey, stand_ins: Container[str]) -> bool:
    """Return whether every stand-in is a whole, unchanged element of the key."""
    host, path, method = key
    return all(
        element in stand_ins or "\0" not in element
        for element in (host, *path, method)
        if isinstance(element, str)
    )


def _stand_in(number: int) -> str:
    # No rule holds a NUL. The letters differ in case, so a predicate that changes case is noticed.
    return f"\0Va{number}"


def _keys_of(rules: Iterable[Rule], values: ResolvedValues) -> Steps[IndexKeys]:
    found: dict[IndexKey, None] = {}
    limit = AlternativesLimit()
    for rule in rules:
        if all(name in values for name in rule.variables):
            found.update(dict.fromkeys(_keys(rule, values, limit)))
            yield
    if len(found) > MAX_KEYS:
        # An app with more is tried for every plain URL: its own decision tree knows all keys.
        return CATCH_ALL
    return tuple(found)


def _keys(rule: Rule, values: ResolvedValues, limit: AlternativesLimit) -> IndexKeys:
    try:
        limit.take(rule, values)
        return rule.keys(values)
    except TooManyAlternatives:
        return ()
