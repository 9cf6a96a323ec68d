"""Compile a rule's text, once, so that an environment's values turn it into a predicate."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from routing.language.connectives import AllOf, AnyOf, NoneOf
from routing.language.index_keys import CATCH_ALL, IndexKeys, keys_of_all, keys_of_any
from routing.language.predicates import Predicate
from routing.language.rule import (
    And,
    Expression,
    Not,
    PredicateCall,
    RuleError,
    length_without_blanks,
    parse,
)
from routing.language.template import (
    MAX_ALTERNATIVES,
    FindValue,
    ResolvedValue,
    ResolvedValues,
    TooManyAlternatives,
)
from routing.language.vocabulary import (
    NO_VALUES,
    Build,
    FindKeys,
    PredicateTemplate,
    predicate_template,
)

Made = TypeVar("Made")

_PLACEHOLDER = re.compile(r"\{\{\s*\.\w+\.([A-Za-z0-9_-]+)\s*\}\}")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was parsed and checked, before its variables are resolved.

    Attributes:
        text: The rule as written.
        build: Function that makes the predicate; a rule without variables makes it only once.
        keys: Function that computes the index keys without making the predicate.
        variables: Names of all variables it uses, sorted.
        counted: Variables whose values count for the length, once for each occurrence.
        fixed_length: Length without those values; see ``routing.table.priority``.
        is_parameterizable: Whether the values of its variables can be read at match time.
        alternatives: Function that returns how many alternatives the lists among values make.
        predicates: How many predicates it has.
    """

    text: str
    build: Build
    keys: FindKeys
    variables: tuple[str, ...]
    counted: tuple[str, ...]
    fixed_length: int
    is_parameterizable: bool
    alternatives: Callable[[ResolvedValues], int]
    predicates: int

    def resolve(self, find: FindValue) -> tuple[dict[str, ResolvedValue], tuple[str, ...]]:
        """Return the values of the variables, and the names of those without a value."""
        found = {name: find(name) for name in self.variables}
        missing = tuple(name for name, value in found.items() if value is None)
        return {name: value for name, value in found.items() if value is not None}, missing

    def resolved_text(self, values: ResolvedValues) -> str:
        """Return the text with its values, for people; a list is shown as ``[a, b]``."""

        def shown(match: re.Match[str]) -> str:
            value = values.get(match[1])
            if value is None:
                return match[0]
            return f"[{', '.join(value.texts)}]" if value.is_list else value.texts[0]

        return _PLACEHOLDER.sub(shown, self.text)


class AlternativesLimit:
    """Counts the alternatives of all rules of one table, so that a table is made in a few ms."""

    def __init__(self) -> None:
        self._left = MAX_ALTERNATIVES

    def take(self, rule: Rule, values: ResolvedValues) -> None:
        """Count the alternatives of one more rule.

        Raises:
            TooManyAlternatives: The rules have more than MAX_ALTERNATIVES together.
        """
        count = rule.alternatives(values)
        if count > self._left:
            raise TooManyAlternatives(
                f"lists make more than {MAX_ALTERNATIVES:,} alternatives in all rules together: "
                "use shorter lists, or a variable as a whole path segment, host or value"
            )
        self._left -= count


# Versions of a component mostly have the same rules, so the text is the key. One entry takes about
# 5 KB.
@lru_cache(maxsize=8_192)
def compile_rule(text: str) -> Rule:
    """Return the rule of a text.

    Raises:
        RuleError: The text is no rule; the error has the column, the found and the expected text.
    """
    templates: list[PredicateTemplate] = []
    node = _node(text, parse(text), templates)
    variables = tuple(sorted({name for leaf in templates for name in leaf.variables}))
    return Rule(
        text=text,
        build=node.build if variables else _once(node.build),
        keys=node.keys if variables else _once(node.keys),
        variables=variables,
        counted=tuple(name for leaf in templates for name in leaf.counted),
        fixed_length=length_without_blanks(text) - sum(leaf.saved for leaf in templates),
        is_parameterizable=all(leaf.is_parameterizable for leaf in templates),
        alternatives=lambda values: sum([leaf.alternatives(values) for leaf in templates]),
        predicates=len(templates),
    )


class _Node(msgspec.Struct, frozen=True):
    build: Build
    keys: FindKeys
    parameters: frozenset[str] = frozenset()


def _once(make: Callable[[ResolvedValues], Made]) -> Callable[[ResolvedValues], Made]:
    made = make(NO_VALUES)
    return lambda _: made


def _node(rule: str, tree: Expression, templates: list[PredicateTemplate]) -> _Node:
    match tree:
        case PredicateCall():
            leaf = predicate_template(rule, tree)
            templates.append(leaf)
            if leaf.variables:
                return _Node(leaf.build, leaf.keys, leaf.parameters)
            return _Node(_once(leaf.build), _once(leaf.keys), leaf.parameters)
        case Not(child):
            build = _node(rule, child, templates).build
            return _Node(lambda values: NoneOf(build(values)), lambda _: CATCH_ALL)
        case And(children):
            nodes = [_node(rule, child, templates) for child in children]
            _check_distinct(rule, children, nodes)
            return _joined(nodes, AllOf, keys_of_all)
        case _:
            nodes = [_node(rule, child, templates) for child in tree.children]
            return _joined(nodes, AnyOf, keys_of_any)


def _joined(
    nodes: list[_Node],
    join: Callable[[list[Predicate]], Predicate],
    join_keys: Callable[[list[IndexKeys]], IndexKeys],
) -> _Node:
    return _Node(
        lambda values: join([node.build(values) for node in nodes]),
        lambda values: join_keys([node.keys(values) for node in nodes]),
        frozenset().union(*(node.parameters for node in nodes)),
    )


def _check_distinct(rule: str, children: tuple[Expression, ...], nodes: list[_Node]) -> None:
    seen: frozenset[str] = frozenset()
    for child, node in zip(children, nodes, strict=True):
        if again := sorted(seen & node.parameters):
            found = f"parameter {again[0]} again"
            raise RuleError(rule, _column(child), found, "each name once between '&&'")
        seen |= node.parameters


def _column(tree: Expression) -> int:
    match tree:
        case PredicateCall():
            return tree.column
        case Not(child):
            return _column(child)
        case _:
            return _column(tree.children[0])
