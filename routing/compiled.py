"""A rule from its text to the predicate that one environment's values make of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from routing.connectives import AllOf, AnyOf, NoneOf
from routing.keys import EVERYTHING, Keys, keys_of_all, keys_of_any
from routing.predicates import Predicate
from routing.rule import And, Call, Expression, Not, RuleError, parse
from routing.template import Filling, Fillings, Layers, fill
from routing.vocabulary import NO_FILLINGS, Build, FindKeys, Template, template

Made = TypeVar("Made")

_HOLE = re.compile(r"\{\{\s*\.\w+\.([A-Za-z0-9_-]+)\s*\}\}")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was read and checked, before its variables are known.

    Attributes:
        text: As written.
        build: Makes the predicate; one that uses no variables is made once.
        keys: Finds its index keys, without making the predicate.
        variables: Names of every variable it uses, sorted.
        counted: Variables whose values count for the length, as often as they stand there.
        fixed_length: Length without those values.
        takes_words: Whether words can be put in for its variables when a request is matched.
    """

    text: str
    build: Build
    keys: FindKeys
    variables: tuple[str, ...]
    counted: tuple[str, ...]
    fixed_length: int
    takes_words: bool

    def fillings(self, layers: Layers) -> tuple[dict[str, Filling], tuple[str, ...]]:
        """Return the values of the variables, and the names that have none."""
        found = {name: fill(name, layers) for name in self.variables}
        missing = tuple(name for name, filling in found.items() if filling is None)
        return {name: each for name, each in found.items() if each is not None}, missing

    def length(self, fillings: Fillings) -> int:
        """Return the length of the resolved rule, each ``{…}`` and each list counted as ``{}``."""
        return self.fixed_length + sum(fillings[name].length for name in self.counted)

    def resolved(self, fillings: Fillings) -> str:
        """Return the text with its values, for people; a list is shown as ``[a, b]``."""

        def shown(match: re.Match[str]) -> str:
            filling = fillings.get(match[1])
            if filling is None:
                return match[0]
            return f"[{', '.join(filling.texts)}]" if filling.is_list else filling.texts[0]

        return _HOLE.sub(shown, self.text)


# Versions of a component mostly share their rules, so the text is the key. The bound is generous:
# one entry is about 5 KB.
@lru_cache(maxsize=8_192)
def compile_rule(text: str) -> Rule:
    """Return the rule of a text.

    Raises:
        RuleError: It is not a rule; says the column, what was found and what was expected.
    """
    templates: list[Template] = []
    node = _node(text, parse(text), templates)
    variables = tuple(sorted({name for each in templates for name in each.variables}))
    return Rule(
        text=text,
        build=node.build if variables else _once(node.build),
        keys=node.keys if variables else _once(node.keys),
        variables=variables,
        counted=tuple(name for each in templates for name in each.counted),
        fixed_length=len(text.strip()) - sum(each.saved for each in templates),
        takes_words=all(each.takes_words for each in templates),
    )


class _Node(msgspec.Struct, frozen=True):
    build: Build
    keys: FindKeys
    parameters: frozenset[str] = frozenset()


def _once(make: Callable[[Fillings], Made]) -> Callable[[Fillings], Made]:
    made = make(NO_FILLINGS)
    return lambda _: made


def _node(rule: str, tree: Expression, templates: list[Template]) -> _Node:
    match tree:
        case Call():
            leaf = template(rule, tree)
            templates.append(leaf)
            if leaf.variables:
                return _Node(leaf.build, leaf.keys, leaf.parameters)
            return _Node(_once(leaf.build), _once(leaf.keys), leaf.parameters)
        case Not(child):
            build = _node(rule, child, templates).build
            return _Node(lambda fillings: NoneOf(build(fillings)), lambda _: EVERYTHING)
        case And(children):
            nodes = [_node(rule, child, templates) for child in children]
            _check_apart(rule, children, nodes)
            return _joined(nodes, AllOf, keys_of_all)
        case _:
            nodes = [_node(rule, child, templates) for child in tree.children]
            return _joined(nodes, AnyOf, keys_of_any)


def _joined(
    nodes: list[_Node],
    join: Callable[[list[Predicate]], Predicate],
    join_keys: Callable[[list[Keys]], Keys],
) -> _Node:
    return _Node(
        lambda fillings: join([node.build(fillings) for node in nodes]),
        lambda fillings: join_keys([node.keys(fillings) for node in nodes]),
        frozenset().union(*(node.parameters for node in nodes)),
    )


def _check_apart(rule: str, children: tuple[Expression, ...], nodes: list[_Node]) -> None:
    seen: frozenset[str] = frozenset()
    for child, node in zip(children, nodes, strict=True):
        if again := sorted(seen & node.parameters):
            found = f"parameter {again[0]} again"
            raise RuleError(rule, _column(child), found, "each name once between '&&'")
        seen |= node.parameters


def _column(tree: Expression) -> int:
    match tree:
        case Call():
            return tree.column
        case Not(child):
            return _column(child)
        case _:
            return _column(tree.children[0])
