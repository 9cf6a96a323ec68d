"""Variables in rules: ``{{.Vars.name}}`` and ``{{.Env.name}}``.

A rule is parsed before its variables are resolved, so a value never adds syntax: it is literal
text. A list stands for alternatives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from math import prod

import msgspec

from kubefox.component import Value
from routing.language.rule import Argument, RuleError
from routing.language.segments import Segment

MAX_ALTERNATIVES = 1_024

_OPENING = re.compile(r"\{\{\s*\.")
_PLACEHOLDER = re.compile(r"\{\{\s*\.(?P<scope>\w+)\.(?P<name>[A-Za-z0-9_-]+)\s*\}\}")
_SCOPES = {"Vars", "Env"}


class Placeholder(msgspec.Struct, frozen=True):
    """The position of a variable in a string.

    Attributes:
        variable: Name of the variable.
        width: How many characters of the rule the placeholder covers.
    """

    variable: str
    width: int


class Symbol(msgspec.Struct, frozen=True):
    """One character of a string, or a placeholder, with its column in the rule."""

    content: str | Placeholder
    column: int


Text = tuple[str | Placeholder, ...]
"""Literal text with placeholders."""


class ResolvedValue(msgspec.Struct, frozen=True):
    """The value of a variable in the form that rules use.

    Attributes:
        texts: The alternatives; one for a value that is no list.
        is_list: Whether the value is a list; a list counts like a capture in a rule's length.
        segment: The path segment that each of the texts is without decoding: a text, or the set of
            a list's texts. None if some text is not exactly one segment.
        slot: Index in ``Facts.segment_values`` from which the rule reads the value at match time;
            None if the value becomes a part of the rule.
    """

    texts: tuple[str, ...]
    is_list: bool = False
    segment: Segment | None = None
    slot: int | None = None


ResolvedValues = Mapping[str, ResolvedValue]
FindValue = Callable[[str], ResolvedValue | None]
"""Returns the value of a variable, or None if it has none."""
Layers = Sequence[Mapping[str, Value]]
"""Variables in order of precedence: the first layer that has a name wins."""


class TooManyAlternatives(ValueError):
    """The lists in one string make more than MAX_ALTERNATIVES combinations."""


def symbols(rule: str, argument: Argument) -> list[Symbol]:
    """Return the characters and placeholders of a string.

    Raises:
        RuleError: A template does not name a variable.
    """
    text, found, at = argument.text, [], 0
    while at < len(text):
        if _OPENING.match(text, at):
            placeholder, end = _placeholder(rule, argument, at)
            found.append(Symbol(placeholder, argument.columns[at]))
            at = end
        else:
            found.append(Symbol(text[at], argument.columns[at]))
            at += 1
    return found


def join(parts: Iterable[str | Placeholder]) -> Text:
    """Return the parts with neighbouring strings joined."""
    joined: list[str | Placeholder] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def alternatives(text: Text, values: ResolvedValues) -> tuple[str, ...]:
    """Return every text that the values make, in the order of the lists.

    Raises:
        TooManyAlternatives: There are more than MAX_ALTERNATIVES.
    """
    choices = [
        values[part.variable].texts if isinstance(part, Placeholder) else (part,) for part in text
    ]
    if len(choices) == 1 and len(choices[0]) <= MAX_ALTERNATIVES:
        return choices[0]
    if prod(map(len, choices)) > MAX_ALTERNATIVES:
        raise TooManyAlternatives(f"the lists make more than {MAX_ALTERNATIVES} alternatives")
    return tuple("".join(choice) for choice in product(*choices))


def resolve_value(name: str, layers: Layers) -> ResolvedValue | None:
    """Return the value of a variable, or None if no layer has it or it is an empty list."""
    for layer in layers:
        if name in layer:
            return _resolved(layer[name])
    return None


def has_value(name: str, layers: Layers) -> bool:
    """Return whether ``resolve_value`` finds a value."""
    for layer in layers:
        if name in layer:
            return layer[name] != []
    return False


def _resolved(value: Value) -> ResolvedValue | None:
    if isinstance(value, list):
        return _resolved_list(value) if value else None
    text = _text(value)
    return ResolvedValue((text,), segment=text if _is_segment(text) else None)


def _resolved_list(value: Sequence[str | float]) -> ResolvedValue:
    texts = tuple(map(_text, value))
    segment = frozenset(texts) if all(map(_is_segment, texts)) else None
    return ResolvedValue(texts, is_list=True, segment=segment)


def _is_segment(text: str) -> bool:
    return bool(text) and "/" not in text and "%" not in text


def _text(value: str | float | bool) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)


def _placeholder(rule: str, argument: Argument, at: int) -> tuple[Placeholder, int]:
    column = argument.columns[at]
    match = _PLACEHOLDER.match(argument.text, at)
    if match is None:
        raise RuleError(rule, column, "an unfinished template", "{{.Vars.name}} or {{.Env.name}}")
    if match["scope"] in {"Secrets", "Secret"}:
        raise RuleError(
            rule, column, f"secret {match['name']}", "a variable, never a secret", "SecretInRule"
        )
    if match["scope"] not in _SCOPES:
        raise RuleError(rule, column, f".{match['scope']}", ".Vars or .Env")
    width = argument.columns[match.end()] - column
    return Placeholder(match["name"], width), match.end()
