"""Patterns in the strings of a rule: literal text, captures and regular expressions.

``{name}``, ``{name:regex}`` and ``{:regex}`` stand for one whole segment; ``{name...}`` for the
rest, at least one segment. A backslash takes ``{``, ``}`` or itself literally.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from routing import regex
from routing.rule import Argument, RuleError
from routing.template import Fillings, Hole, Symbol, Text, alternatives, join, symbols

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TAIL = "..."
_ESCAPABLE = {"{", "}", "\\"}


class Brace(msgspec.Struct, frozen=True, kw_only=True):
    """What stood between ``{`` and ``}``.

    Attributes:
        content: Text between the braces.
        column: Of the opening brace.
        width: Characters of the rule it covers, braces included.
    """

    content: Text
    column: int
    width: int


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that is not literal.

    Attributes:
        name: Parameter that gets the segment, or None.
        regex: What the segment must match, or None for anything.
        is_tail: Whether it takes all that is left.
    """

    name: str | None
    regex: Text | None = None
    is_tail: bool = False


Part = str | Hole | Brace
"""A character, a hole or a pair of braces, in the order of the text."""


def parts(rule: str, argument: Argument) -> list[Part]:
    """Return what a string is made of.

    Raises:
        RuleError: Braces that do not close, or close nothing.
    """
    return list(_parts(rule, argument, symbols(rule, argument)))


def capture(rule: str, brace: Brace) -> Capture:
    """Return the capture that a pair of braces stands for in a path or host.

    Raises:
        RuleError: The name or the regular expression is not valid.
    """
    name, is_regex, pattern = _split_at_colon(brace.content)
    is_tail = not is_regex and name.endswith(_TAIL)
    name = name.removesuffix(_TAIL) if is_tail else name
    if not _NAME.fullmatch(name) and not (is_regex and name == ""):
        raise RuleError(rule, brace.column + 1, repr(name), "the name of a parameter")
    if is_regex:
        check_regex(rule, brace, pattern)
    return Capture(name=name or None, regex=pattern if is_regex else None, is_tail=is_tail)


def check_regex(rule: str, brace: Brace, pattern: Text) -> None:
    """Compile with every hole as some word, to find errors before any value is known.

    Raises:
        RuleError: Not a regular expression.
    """
    sample = "".join("x" if isinstance(part, Hole) else part for part in pattern)
    try:
        regex.compile_regex(sample)
    except regex.RegexError as error:
        raise RuleError(
            rule, brace.column + 1, f"{sample!r} ({error})", "a regular expression (RE2)"
        ) from error


def filled_regex(pattern: Text, fillings: Fillings) -> str:
    """Return the pattern with its values, which match themselves literally."""
    pieces = []
    for part in pattern:
        if isinstance(part, Hole):
            pieces.append(f"(?:{'|'.join(map(regex.quote, alternatives((part,), fillings)))})")
        else:
            pieces.append(part)
    return "".join(pieces)


def _parts(rule: str, argument: Argument, found: list[Symbol]) -> Iterator[Part]:
    at = 0
    while at < len(found):
        content = found[at].content
        if content == "\\" and at + 1 < len(found) and found[at + 1].content in _ESCAPABLE:
            at += 1
            yield found[at].content
        elif content == "{":
            end = _closing(rule, argument, found, at)
            yield _brace(found, at, end)
            at = end
        elif content == "}":
            raise RuleError(rule, found[at].column, "'}'", "'{' before it, or '\\}'")
        else:
            yield content
        at += 1


def _closing(rule: str, argument: Argument, found: list[Symbol], start: int) -> int:
    depth, at = 0, start
    while at < len(found):
        content = found[at].content
        if content == "\\":
            at += 1
        elif content in {"{", "}"}:
            depth += 1 if content == "{" else -1
            if depth == 0:
                return at
        at += 1
    raise RuleError(rule, argument.columns[-1], "the end of the string", "a closing '}'")


def _brace(found: list[Symbol], start: int, end: int) -> Brace:
    return Brace(
        content=join(symbol.content for symbol in found[start + 1 : end]),
        column=found[start].column,
        width=found[end].column - found[start].column + 1,
    )


def _split_at_colon(content: Text) -> tuple[str, bool, Text]:
    """Return name, whether a colon follows it, and what follows that."""
    first = content[0] if content and isinstance(content[0], str) else ""
    name, colon, rest = first.partition(":")
    if not colon and len(content) > (1 if first else 0):
        name = f"{name}{{{{"
    return name, bool(colon), join(part for part in (rest, *content[1:]) if part != "")
