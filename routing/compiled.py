"""A rule from its text to the predicate that one environment's values make of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from routing.connectives import AllOf, AnyOf, NoneOf
from routing.predicates import Predicate
from routing.rule import And, Call, Expression, Not, RuleError, parse
from routing.template import Filling, Fillings, Layers, fill
from routing.vocabulary import Build, Template, template

_HOLE = re.compile(r"\{\{\s*\.\w+\.([A-Za-z0-9_-]+)\s*\}\}")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that was read and checked, before its variables are known.

    Attributes:
        text: As written.
        build: Makes the predicate.
        variables: Names of every variable it uses, sorted.
        counted: Variables whose values count for the length, as often as they stand there.
        fixed_length: Length without those values.
    """

    text: str
    build: Build
    variables: tuple[str, ...]
    counted: tuple[str, ...]
    fixed_length: int

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
# one entry is about 3 KB.
@lru_cache(maxsize=8_192)
def compile_rule(text: str) -> Rule:
    """Return the rule of a text.

    Raises:
        RuleError: It is not a rule; says the column, what was found and what was expected.
    """
    templates: list[Template] = []
    build, _ = _build(text, parse(text), templates)
    return Rule(
        text=text,
        build=build,
        variables=tuple(sorted({name for each in templates for name in each.variables})),
        counted=tuple(name for each in templates for name in each.counted),
        fixed_length=len(text.strip()) - sum(each.saved for each in templates),
    )


def _build(rule: str, tree: Expression, templates: list[Template]) -> tuple[Build, frozenset[str]]:
    match tree:
        case Call():
            leaf = template(rule, tree)
            templates.append(leaf)
            return leaf.build, frozenset(leaf.parameters)
        case Not(child):
            build, _ = _build(rule, child, templates)
            return (lambda fillings: NoneOf(build(fillings))), frozenset()
        case And(children):
            builds, parameters = _children(rule, children, templates)
            _check_apart(rule, children, parameters)
            return _joined(AllOf, builds), frozenset().union(*parameters)
        case _:
            builds, parameters = _children(rule, tree.children, templates)
            return _joined(AnyOf, builds), frozenset().union(*parameters)


def _children(
    rule: str, children: tuple[Expression, ...], templates: list[Template]
) -> tuple[list[Build], list[frozenset[str]]]:
    built = [_build(rule, child, templates) for child in children]
    return [build for build, _ in built], [parameters for _, parameters in built]


def _joined(kind: Callable[[list[Predicate]], Predicate], builds: list[Build]) -> Build:
    return lambda fillings: kind([build(fillings) for build in builds])


def _check_apart(
    rule: str, children: tuple[Expression, ...], parameters: list[frozenset[str]]
) -> None:
    seen: frozenset[str] = frozenset()
    for child, names in zip(children, parameters, strict=True):
        if again := sorted(seen & names):
            found = f"parameter {again[0]} again"
            raise RuleError(rule, _column(child), found, "each name once between '&&'")
        seen |= names


def _column(tree: Expression) -> int:
    match tree:
        case Call():
            return tree.column
        case Not(child):
            return _column(child)
        case _:
            return _column(tree.children[0])
