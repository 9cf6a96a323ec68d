"""Variables in rules: ``{{.Vars.name}}`` and ``{{.Env.name}}``.

A rule is parsed before its variables are known, so a value can never add syntax: it is taken as the
text it is. A list stands for alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod

import msgspec

from model.component import Value
from routing.rule import Argument, RuleError

MAX_ALTERNATIVES = 1_024

_OPENING = re.compile(r"\{\{\s*\.")
_HOLE = re.compile(r"\{\{\s*\.(?P<scope>\w+)\.(?P<name>[A-Za-z0-9_-]+)\s*\}\}")
_SCOPES = {"Vars", "Env"}


class Hole(msgspec.Struct, frozen=True):
    """Where the value of a variable goes.

    Attributes:
        variable: Its name.
        width: Characters of the rule that the template covers.
    """

    variable: str
    width: int


class Symbol(msgspec.Struct, frozen=True):
    """One character of a string, or a hole, with its column in the rule."""

    content: str | Hole
    column: int


Text = tuple[str | Hole, ...]
"""Literal text with holes."""


class Filling(msgspec.Struct, frozen=True):
    """The value of a variable as rules use it.

    Attributes:
        texts: Alternatives; a plain value has one.
        is_list: Whether it was a list; a list counts like a capture in a rule's length.
        is_word: Whether it is one text that is one segment of a path, as it is.
        place: Where in ``Facts.words`` the word is, if rules are to look for it there; None if it
            becomes a part of them.
    """

    texts: tuple[str, ...]
    is_list: bool = False
    is_word: bool = False
    place: int | None = None

    @property
    def length(self) -> int:
        """What the hole adds to the length of the resolved rule."""
        return len("{}") if self.is_list else len(self.texts[0])


Fillings = Mapping[str, Filling]
Layers = Sequence[Mapping[str, Value]]
"""Variables in order of precedence: the first layer that has a name decides."""


class TooManyAlternatives(ValueError):
    """Lists in one string multiply to more than MAX_ALTERNATIVES."""


def symbols(rule: str, argument: Argument) -> list[Symbol]:
    """Return the characters and holes of a string.

    Raises:
        RuleError: A template that is not a variable.
    """
    text, found, at = argument.text, [], 0
    while at < len(text):
        if _OPENING.match(text, at):
            hole, end = _hole(rule, argument, at)
            found.append(Symbol(hole, argument.columns[at]))
            at = end
        else:
            found.append(Symbol(text[at], argument.columns[at]))
            at += 1
    return found


def join(parts: Iterable[str | Hole]) -> Text:
    """Return the parts with neighbouring strings run together."""
    joined: list[str | Hole] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def alternatives(text: Text, fillings: Fillings) -> tuple[str, ...]:
    """Return every text that the holes can make, in the order of the lists.

    Raises:
        TooManyAlternatives: There are more than MAX_ALTERNATIVES.
    """
    choices = [
        fillings[part.variable].texts if isinstance(part, Hole) else (part,) for part in text
    ]
    if prod(map(len, choices)) > MAX_ALTERNATIVES:
        raise TooManyAlternatives(f"the lists make more than {MAX_ALTERNATIVES} alternatives")
    return tuple("".join(choice) for choice in product(*choices))


def fill(name: str, layers: Layers) -> Filling | None:
    """Return the value of a variable, or None if no layer has one or it is an empty list."""
    for layer in layers:
        if name in layer:
            return _filling(layer[name])
    return None


def _filling(value: Value) -> Filling | None:
    if isinstance(value, list):
        return Filling(tuple(map(_text, value)), is_list=True) if value else None
    text = _text(value)
    return Filling((text,), is_word=bool(text) and "/" not in text and "%" not in text)


def _text(value: str | float | bool) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def _hole(rule: str, argument: Argument, at: int) -> tuple[Hole, int]:
    column = argument.columns[at]
    match = _HOLE.match(argument.text, at)
    if match is None:
        raise RuleError(rule, column, "an unfinished template", "{{.Vars.name}} or {{.Env.name}}")
    if match["scope"] in {"Secrets", "Secret"}:
        raise RuleError(
            rule, column, f"secret {match['name']}", "a variable, never a secret", "SecretInRule"
        )
    if match["scope"] not in _SCOPES:
        raise RuleError(rule, column, f".{match['scope']}", ".Vars or .Env")
    width = argument.columns[match.end()] - column
    return Hole(match["name"], width), match.end()
