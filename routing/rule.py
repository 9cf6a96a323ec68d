"""The syntax of rules: text to tree.

::

    rule      = and { "||" and }
    and       = unary { "&&" unary }
    unary     = "!" unary | "(" rule ")" | call
    call      = NAME "(" [ string { "," string } ] ")"
    string    = "`" … "`" | '"' … '"'

What a name means and what its strings may hold is none of this module's business: see
``routing.vocabulary``. Columns count from 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from model.errors import InvalidRequest

MAX_LENGTH = 8_192
MAX_DEPTH = 32

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = re.compile(r"\s*")
_ESCAPES = {'"': '"', "\\": "\\"}


class RuleError(InvalidRequest):
    """A rule that cannot be used.

    Args:
        rule: The whole text.
        column: Where, from 1.
        found: What stands there.
        expected: What would be right there.
        kind: The ``Problem.type`` it is reported as.
    """

    def __init__(
        self, rule: str, column: int, found: str, expected: str, kind: str = "RuleSyntax"
    ) -> None:
        """Word the message from the parts and keep them."""
        super().__init__(f"column {column}: found {found}, expected {expected}")
        self.rule = rule
        self.column = column
        self.found = found
        self.expected = expected
        self.kind = kind


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One string of a call.

    Attributes:
        text: Without quotes and escapes.
        columns: Of every character in ``text``, and one more for its end.
    """

    text: str
    columns: Sequence[int]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate as written."""

    name: str
    arguments: tuple[Argument, ...]
    column: int
    source: str


class And(msgspec.Struct, frozen=True):
    """Every child must accept."""

    children: tuple[Expression, ...]


class Or(msgspec.Struct, frozen=True):
    """The first child that accepts."""

    children: tuple[Expression, ...]


class Not(msgspec.Struct, frozen=True):
    """The child must refuse."""

    child: Expression


Expression = And | Or | Not | Call


def parse(text: str) -> Expression:
    """Return the tree of a rule.

    Raises:
        RuleError: The text is not a rule.
    """
    if len(text) > MAX_LENGTH:
        raise RuleError(text, MAX_LENGTH + 1, "more", f"at most {MAX_LENGTH} characters")
    return _Parser(text).rule()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._skip_blank()

    def rule(self) -> Expression:
        tree = self._or()
        if self._at < len(self._text):
            raise self._error("'&&', '||' or the end of the rule")
        return tree

    def _or(self) -> Expression:
        children = [self._and()]
        while self._take("||"):
            children.append(self._and())
        return children[0] if len(children) == 1 else Or(tuple(children))

    def _and(self) -> Expression:
        children = [self._unary()]
        while self._take("&&"):
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
        if self._take("!"):
            return Not(self._unary())
        if self._take("("):
            tree = self._or()
            self._expect(")", "'&&', '||' or ')'")
            return tree
        return self._call()

    def _call(self) -> Call:
        start = self._at
        match = _NAME.match(self._text, start)
        if match is None:
            raise self._error("a predicate, '!' or '('")
        self._move_to(match.end())
        self._expect("(", "'('")
        arguments = self._arguments()
        source = self._text[start : self._at].rstrip()
        return Call(name=match[0], arguments=arguments, column=start + 1, source=source)

    def _arguments(self) -> tuple[Argument, ...]:
        if self._take(")"):
            return ()
        arguments = [self._string()]
        while self._take(","):
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

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._move_to(self._at + len(token))
        return True

    def _expect(self, token: str, expected: str) -> None:
        if not self._take(token):
            raise self._error(expected)

    def _move_to(self, at: int) -> None:
        self._at = at
        self._skip_blank()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _error(self, expected: str, at: int | None = None) -> RuleError:
        place = self._at if at is None else at
        found = repr(self._text[place]) if place < len(self._text) else "the end of the rule"
        return RuleError(self._text, place + 1, found, expected)
