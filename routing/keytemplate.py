"""The index keys of many rules with places for values, so that an environment only fills them in.

Working keys out rule by rule costs 130 µs for ten rules, and a platform that starts does it for
every released app. Mostly a value is one word and stands alone between two slashes, so its
place in the keys can be found once, by looking where a stand-in comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from routing.compiled import Rule
from routing.keys import Element, Key, Keys
from routing.keytree import KeyTree, merged
from routing.template import Filling, Fillings, TooManyAlternatives


class KeyTemplate:
    """The keys of some rules.

    Args:
        rules: Any rules.
    """

    __slots__ = ("_beginnings", "_rules", "_stand_ins")

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Find out where each variable comes out in the keys."""
        names = sorted({name for rule in rules for name in rule.variables})
        self._rules = rules
        self._stand_ins = {name: _stand_in(number) for number, name in enumerate(names)}
        words = {name: Filling((word,), is_word=True) for name, word in self._stand_ins.items()}
        keys = _keys_of(rules, words)
        clear = all(map(self._is_clear, keys))
        self._beginnings = merged(keys) if clear else None

    def keys(self, fillings: Fillings) -> KeyTree:
        """Return the keys for some values; rules that lack one have none."""
        words = self._words(fillings)
        if self._beginnings is None or words is None:
            return KeyTree(merged(_keys_of(self._rules, fillings)))
        return KeyTree(self._beginnings, words)

    def _words(self, fillings: Fillings) -> Mapping[Element, str] | None:
        """Return the word for each stand-in, or None if some have none or not just one."""
        words: dict[Element, str] = {}
        for name, stand_in in self._stand_ins.items():
            filling = fillings.get(name)
            if filling is None or not filling.is_word:
                return None
            words[stand_in] = filling.texts[0]
        return words

    def _is_clear(self, key: Key) -> bool:
        """Return whether every stand-in is an element of its own, as it was put in."""
        host, path, method = key
        known = set(self._stand_ins.values())
        return all(
            element in known or "\0" not in element
            for element in (host, *path, method)
            if isinstance(element, str)
        )


def _stand_in(number: int) -> str:
    # No rule holds a NUL, and a predicate that changes case shows by changing one of the letters.
    return f"\0Va{number}"


def _keys_of(rules: Iterable[Rule], fillings: Fillings) -> Keys:
    found: dict[Key, None] = {}
    for rule in rules:
        if all(name in fillings for name in rule.variables):
            found.update(dict.fromkeys(_keys(rule, fillings)))
    return tuple(found)


def _keys(rule: Rule, fillings: Fillings) -> Keys:
    try:
        return rule.keys(fillings)
    except TooManyAlternatives:
        return ()
