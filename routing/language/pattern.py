"""Patterns in the strings of a rule: literal text, captures and regular expressions.

``{name}``, ``{name:regex}`` and ``{:regex}`` match one whole segment; ``{name...}`` matches the
rest, at least one segment. A backslash before ``{``, ``}`` or a backslash makes it literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from routing.language import regex
from routing.language.rule import Argument, RuleError
from routing.language.template import (
    Placeholder,
    ResolvedValues,
    Symbol,
    Text,
    alternatives,
    join,
    symbols,
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TAIL = "..."
_ESCAPABLE = {"{", "}", "\\"}


class BraceGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of braces and the text between them.

    Attributes:
        content: Text between the braces.
        column: Column of the opening brace.
        width: How many characters of the rule it covers, braces included.
    """

    content: Text
    column: int
    width: int


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that is no literal text.

    Attributes:
        name: Parameter that captures the segment, or None.
        regex: Regular expression that the segment must match, or None for any segment.
        is_tail: Whether it captures all remaining segments.
    """

    name: str | None
    regex: Text | None = None
    is_tail: bool = False


Part = str | Placeholder | BraceGroup
"""A character, a placeholder or a pair of braces."""


def parts(rule: str, argument: Argument) -> list[Part]:
    """Return the parts of a string, in the order of the text.

    Raises:
        RuleError: The braces are not balanced.
    """
    return list(_parts(rule, argument, symbols(rule, argument)))


def capture(rule: str, brace: BraceGroup) -> Capture:
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


def check_regex(rule: str, brace: BraceGroup, pattern: Text) -> None:
    """Compile with a sample text for every placeholder, to find errors before values are known.

    Raises:
        RuleError: The pattern is no regular expression.
    """
    sample = "".join("x" if isinstance(part, Placeholder) else part for part in pattern)
    try:
        regex.compile_regex(sample)
    except regex.RegexError as error:
        raise RuleError(
            rule, brace.column + 1, f"{sample!r} ({error})", "a regular expression (RE2)"
        ) from error


def resolved_regex(pattern: Text, values: ResolvedValues) -> str:
    """Return the pattern with its values, which match literally."""
    pieces = []
    for part in pattern:
        if isinstance(part, Placeholder):
            texts = alternatives((part,), values)
            if sum(map(len, texts)) > regex.MAX_LENGTH:
                raise regex.RegexError(f"a list has more than {regex.MAX_LENGTH} characters")
            pieces.append(f"(?:{'|'.join(map(regex.quote, texts))})")
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
            yield _brace_group(found, at, end)
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


def _brace_group(found: list[Symbol], start: int, end: int) -> BraceGroup:
    return BraceGroup(
        content=join(symbol.content for symbol in found[start + 1 : end]),
        column=found[start].column,
        width=found[end].column - found[start].column + 1,
    )


def _split_at_colon(content: Text) -> tuple[str, bool, Text]:
    """Return the name, whether a colon follows it, and the text after the colon."""
    first = content[0] if content and isinstance(content[0], str) else ""
    name, colon, rest = first.partition(":")
    if not colon and len(content) > (1 if first else 0):
        name = f"{name}{{{{"
    return name, bool(colon), join(part for part in (rest, *content[1:]) if part != "")
