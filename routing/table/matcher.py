"""Route tables: the routes of one rule set, compiled for one environment's values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from kubefox.component import Route
from kubefox.errors import Problem
from kubefox.steps import Steps, at_once, finish
from routing.language.facts import Facts
from routing.language.index_keys import IndexKeys
from routing.language.predicates import Predicate
from routing.language.regex import RegexError
from routing.language.rule import RuleError
from routing.language.segments import NO_SEGMENT_VALUES, Params, SegmentValues
from routing.language.template import (
    FindValue,
    Layers,
    ResolvedValues,
    TooManyAlternatives,
    resolve_value,
)
from routing.table.compiled_rule import AlternativesLimit, Rule, compile_rule
from routing.table.decision_tree import DecisionTree, build_tree, candidates
from routing.table.priority import Rank, order_in_table, rank_of


class ComponentRoutes(msgspec.Struct, frozen=True):
    """The routes that one component declares; hashable, because cache keys contain it."""

    component: str
    routes: tuple[Route, ...]


class CompiledRoute:
    """A route whose variables are resolved.

    Attributes:
        component: Name of the component that declares it.
        route: The route as declared.
        rule: Its rule before the variables were resolved.
        values: Values of the variables.
        predicate: Its rule with the values.
        accepts: The predicate's ``accepts``, bound once.
        rank: Its rank with the values.
    """

    __slots__ = ("accepts", "component", "predicate", "rank", "route", "rule", "values")

    def __init__(self, component: str, route: Route, rule: Rule, values: ResolvedValues) -> None:
        self.component = component
        self.route = route
        self.rule = rule
        self.values = values
        self.predicate: Predicate = rule.build(values)
        self.rank: Rank = rank_of(route.priority, rule, values)
        self.accepts = self.predicate.accepts

    def index_keys(self) -> IndexKeys:
        """Return the keys under which an index must store this route."""
        return self.rule.keys(self.values)

    @property
    def resolved_text(self) -> str:
        """The rule with its values, for people."""
        return self.rule.resolved_text(self.values)

    @property
    def rule_path(self) -> str:
        """Path of the rule in its deployment, as in ``Problem.path``."""
        return rule_path(self.component, self.route)


Match = tuple[CompiledRoute, Params]
Ordered = Sequence[CompiledRoute]
"""Routes in the order in which they win, see ``routing.table.priority.order_in_table``."""


ROUTE_BYTES = 1_100
"""Estimate of what a compiled route takes in memory, with its part of the decision tree."""


class Table(ABC):
    """The routes that requests are matched with in one environment.

    Args:
        tree: Decision tree over the routes.
        segment_values: Values that the routes read by index.
        problems: Why routes are left out, mostly a variable without a value.

    Attributes:
        tree: Decision tree over the routes.
        segment_values: Values that the routes read by index.
        problems: Why routes are left out.
    """

    __slots__ = ("__weakref__", "problems", "segment_values", "tree")

    def __init__(
        self,
        tree: DecisionTree[CompiledRoute],
        segment_values: SegmentValues,
        problems: tuple[Problem, ...],
    ) -> None:
        self.tree = tree
        self.segment_values = segment_values
        self.problems = problems

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Estimate of what the table takes in memory, without what it shares with other tables."""

    @property
    def routes(self) -> Ordered:
        """The routes with resolved variables, the one that wins first."""
        return finish(self.resolved_routes())

    @abstractmethod
    def resolved_routes(self) -> Steps[Ordered]:
        """Make ``routes`` in steps: to show them, and to compare them with others."""

    @abstractmethod
    def rank(self, route: CompiledRoute) -> Rank:
        """Return the rank of a route that ``match`` returned."""

    def match(self, facts: Facts) -> Match | None:
        """Return the route that wins and its parameters, or None."""
        return match(self.tree, self.segment_values, facts)

    def candidates(self, facts: Facts) -> tuple[CompiledRoute, ...]:
        """Return the routes that ``match`` tries until one accepts."""
        return candidates(self.tree, facts)


def match(
    tree: DecisionTree[CompiledRoute], segment_values: SegmentValues, facts: Facts
) -> Match | None:
    """Return the route of a table that wins and its parameters, or None.

    Args:
        tree: The table's.
        segment_values: The table's.
        facts: Of the request.
    """
    facts.segment_values = segment_values
    for route in candidates(tree, facts):
        params = route.accepts(facts)
        if params is not None:
            return route, params
    return None


class RouteTable(Table):
    """A table whose routes were compiled for one environment's values.

    Args:
        routes: Best first.
        tree: Decision tree over the routes.
        problems: Why routes are left out.
    """

    __slots__ = ("_routes",)

    def __init__(
        self, routes: Ordered, tree: DecisionTree[CompiledRoute], problems: tuple[Problem, ...]
    ) -> None:
        self._routes = routes
        super().__init__(tree, NO_SEGMENT_VALUES, problems)

    def resolved_routes(self) -> Steps[Ordered]:
        """Return the routes, which are made already."""
        return at_once(self._routes)

    @property
    def size_bytes(self) -> int:
        """Estimate of what the table takes: 8 to 11 KB with ten routes."""
        return ROUTE_BYTES * len(self._routes)

    def rank(self, route: CompiledRoute) -> Rank:
        """Return the rank of a route."""
        return route.rank


def tree_of(routes: Ordered) -> Steps[DecisionTree[CompiledRoute]]:
    """Make the decision tree over some routes, in steps."""
    keys = []
    for route in routes:
        keys.append(route.index_keys())
        yield
    return (yield from build_tree(routes, keys))


def compile_table(components: Iterable[ComponentRoutes], layers: Layers) -> RouteTable:
    """Return the table for one environment's values; never raises, see ``Table.problems``.

    Args:
        components: The routes of each component.
        layers: Variables, highest precedence first.
    """
    return finish(table_in_steps(components, layers))


def table_in_steps(components: Iterable[ComponentRoutes], layers: Layers) -> Steps[RouteTable]:
    """Make the table of ``compile_table`` in steps: one route, or a part of the tree."""
    compiled = yield from compile_routes(components, layers)
    tree = yield from tree_of(compiled.routes)
    return RouteTable(compiled.routes, tree, compiled.problems)


class CompiledRoutes(NamedTuple):
    """The usable routes, best first, and why the others are left out."""

    routes: tuple[CompiledRoute, ...]
    problems: tuple[Problem, ...]


def compile_routes(components: Iterable[ComponentRoutes], layers: Layers) -> Steps[CompiledRoutes]:
    """Compile routes for one environment's values, one in each step; never raises.

    Args:
        components: The routes of each component.
        layers: Variables, highest precedence first.
    """
    routes: list[CompiledRoute] = []
    problems: list[Problem] = []
    # A value is resolved once for all routes: it may be a list of 1,000 texts.
    limit = AlternativesLimit()
    find = cache(lambda name: resolve_value(name, layers))
    for declared in components:
        for route in declared.routes:
            compiled = _compile(declared.component, route, find, limit)
            if isinstance(compiled, CompiledRoute):
                routes.append(compiled)
            else:
                problems += compiled
            yield
    return CompiledRoutes(tuple(sorted(routes, key=_order)), tuple(problems))


def rule_path(component: str, route: Route) -> str:
    """Return the path of a route's rule in its deployment, as in ``Problem.path``."""
    return f"components.{component}.routes[{route.id}].rule"


def _order(route: CompiledRoute) -> tuple[int, int, str, int]:
    return order_in_table(route.rank, route.component, route.route.id)


def _compile(
    component: str, route: Route, find: FindValue, limit: AlternativesLimit
) -> CompiledRoute | list[Problem]:
    path = rule_path(component, route)
    try:
        rule = compile_rule(route.rule)
        values, missing = rule.resolve(find)
        if not missing:
            limit.take(rule, values)
            return CompiledRoute(component, route, rule, values)
    except RuleError as error:
        return [Problem(type=error.kind, message=error.detail, path=path)]
    except (TooManyAlternatives, RegexError) as error:
        return [Problem(type="RuleTooLarge", message=f"rule {route.rule}: {error}", path=path)]
    return [_missing(name, route, path) for name in missing]


def _missing(name: str, route: Route, path: str) -> Problem:
    return Problem(
        type="VariableNotFound",
        message=f"rule {route.rule} uses variable {name}, which the environment does not set",
        path=path,
    )
