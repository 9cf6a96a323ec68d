"""The syntax of rules: text to tree.

::

    rule      = and { "||" and }
    and       = unary { "&&" unary }
    unary     = "!" unary | "(" rule ")" | call
    call      = NAME "(" [ string { "," string } ] ")"
    string    = "`" … "`" | '"' … '"'

``routing.language.vocabulary`` defines the names and the content of the strings. Columns count
from 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from kubefox.errors import InvalidRequest

# Compiling a rule takes about 4 µs a character and 30 µs a predicate, and cannot be interrupted.
MAX_LENGTH = 2_048
MAX_PREDICATES = 64
MAX_DEPTH = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = re.compile(r"\s*")
_STRING_OR_BLANK = re.compile(r"""(`[^`]*`|"(?:\\.|[^"\\])*")|\s+""")
_ESCAPES = {'"': '"', "\\": "\\"}


class RuleError(InvalidRequest):
    """A rule cannot be used.

    Args:
        rule: The whole text.
        column: Column of the error, from 1.
        found: The text at that column.
        expected: The text that would be valid there.
        kind: The ``Problem.type`` under which the error is reported.
    """

    def __init__(
        self, rule: str, column: int, found: str, expected: str, kind: str = "RuleSyntax"
    ) -> None:
        super().__init__(f"column {column}: found {found}, expected {expected}")
        self.rule = rule
        self.column = column
        self.found = found
        self.expected = expected
        self.kind = kind


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One string of a predicate.

    Attributes:
        text: Without quotes and escapes.
        columns: Column of every character in ``text``, and one more for its end.
    """

    text: str
    columns: Sequence[int]


class PredicateCall(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate as the rule writes it."""

    name: str
    arguments: tuple[Argument, ...]
    column: int
    source: str


class And(msgspec.Struct, frozen=True):
    """Every child must accept."""

    children: tuple[Expression, ...]


class Or(msgspec.Struct, frozen=True):
    """Some child must accept; the first one that does wins."""

    children: tuple[Expression, ...]


class Not(msgspec.Struct, frozen=True):
    """The child must refuse."""

    child: Expression


Expression = And | Or | Not | PredicateCall


def parse(text: str) -> Expression:
    """Return the tree of a rule.

    Raises:
        RuleError: The text is no rule.
    """
    if len(text) > MAX_LENGTH:
        raise RuleError(text, MAX_LENGTH + 1, "more", f"at most {MAX_LENGTH} characters")
    return _Parser(text).rule()


def length_without_blanks(text: str) -> int:
    """Return the number of characters of a rule; blanks count in its strings only."""
    return len(_STRING_OR_BLANK.sub(r"\1", text))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._predicates = 0
        self._skip_blank()

    def rule(self) -> Expression:
        tree = self._or()
        if self._at < len(self._text):
            raise self._error("'&&', '||' or the end of the rule")
        return tree

    def _or(self) -> Expression:
        children = [self._and()]
        while self._accept("||"):
            children.append(self._and())
        return children[0] if len(children) == 1 else Or(tuple(children))

    def _and(self) -> Expression:
        children = [self._unary()]
        while self._accept("&&"):
            children.append(self._unary())
        return children[0] if len(children) == 1 else And(tuple(children))

    def _unary(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} levels of '!' and '('")
        tree = self._operand()
        self._depth -= 1
        return tree

    def _operand(self) -> Expression:
        if self._accept("!"):
            return Not(self._unary())
        if self._accept("("):
            tree = self._or()
            self._expect(")", "'&&', '||' or ')'")
            return tree
        return self._call()

    def _call(self) -> PredicateCall:
        start = self._at
        match = _NAME.match(self._text, start)
        if match is None:
            raise self._error("a predicate, '!' or '('")
        self._predicates += 1
        if self._predicates > MAX_PREDICATES:
            raise self._error(f"at most {MAX_PREDICATES} predicates")
        self._move_to(match.end())
        self._expect("(", "'('")
        arguments = self._arguments()
        source = self._text[start : self._at].rstrip()
        return PredicateCall(name=match[0], arguments=arguments, column=start + 1, source=source)

    def _arguments(self) -> tuple[Argument, ...]:
        if self._accept(")"):
            return ()
        arguments = [self._string()]
        while self._accept(","):
            arguments.append(self._string())
        self._expect(")", "',' or ')'")
        return tuple(arguments)

    def _string(self) -> Argument:
        quote = self._text[self._at : self._at + 1]
        if quote == "`":
            return self._raw_string()
        if quote == '"':
            return self._quoted_string()
        raise self._error("a string in backticks or double quotes")

    def _raw_string(self) -> Argument:
        start = self._at + 1
        end = self._text.find("`", start)
        if end < 0:
            raise self._error("a closing '`'", at=len(self._text))
        self._move_to(end + 1)
        return Argument(text=self._text[start:end], columns=range(start + 1, end + 2))

    def _quoted_string(self) -> Argument:
        at = self._at + 1
        characters, columns = [], []
        while (character := self._text[at : at + 1]) != '"':
            columns.append(at + 1)
            if character == "\\":
                at += 1
                character = self._escaped(at)
            elif not character:
                raise self._error("a closing '\"'", at=at)
            characters.append(character)
            at += 1
        self._move_to(at + 1)
        return Argument(text="".join(characters), columns=(*columns, at + 1))

    def _escaped(self, at: int) -> str:
        try:
            return _ESCAPES[self._text[at : at + 1]]
        except KeyError:
            raise self._error("'\\\\' or '\\\"' after a backslash", at=at) from None

    def _accept(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._move_to(self._at + len(token))
        return True

    def _expect(self, token: str, expected: str) -> None:
        if not self._accept(token):
            raise self._error(expected)

    def _move_to(self, at: int) -> None:
        self._at = at
        self._skip_blank()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _error(self, expected: str, at: int | None = None) -> RuleError:
        index = self._at if at is None else at
        found = repr(self._text[index]) if index < len(self._text) else "the end of the rule"
        return RuleError(self._text, index + 1, found, expected)
