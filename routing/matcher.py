"""The routes of one rule set, compiled for one environment's values: a table to match against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import msgspec

from model.component import Route
from model.errors import Problem
from routing.branches import Tree, candidates, grow
from routing.compiled import Rule, compile_rule
from routing.facts import Facts
from routing.keys import Keys
from routing.predicates import Predicate
from routing.regex import RegexError
from routing.rule import RuleError
from routing.segments import NO_WORDS, Params, Words
from routing.template import Fillings, Layers, TooManyAlternatives


class ComponentRoutes(msgspec.Struct, frozen=True):
    """What one component declares; hashable, because it is a part of cache keys."""

    component: str
    routes: tuple[Route, ...]


Rank = tuple[int, int]
"""Explicit priority, then length of the resolved rule: the higher wins."""


class CompiledRoute:
    """A route with its variables filled in.

    Attributes:
        component: Name of the component that declares it.
        route: As declared.
        rule: Its rule before the values.
        predicate: Its rule with the values.
        fillings: Those values.
        rank: With those values.
    """

    __slots__ = ("accepts", "component", "fillings", "predicate", "rank", "route", "rule")

    def __init__(self, component: str, route: Route, rule: Rule, fillings: Fillings) -> None:
        """Fill the rule in."""
        self.component = component
        self.route = route
        self.rule = rule
        self.fillings = fillings
        self.predicate: Predicate = rule.build(fillings)
        self.rank: Rank = (route.priority, rule.length(fillings))
        self.accepts = self.predicate.accepts

    def index_keys(self) -> Keys:
        """Return where an index must look for this."""
        return self.rule.keys(self.fillings)

    @property
    def resolved(self) -> str:
        """The rule with its values, for people."""
        return self.rule.resolved(self.fillings)

    @property
    def place(self) -> str:
        """Where the rule stands in its deployment, as a path for problems."""
        return place(self.component, self.route)


Match = tuple[CompiledRoute, Params]
Ordered = Sequence[CompiledRoute]
"""Routes in the order in which they win: by rank, then component name, then route id."""


class Table(ABC):
    """What requests are matched against in one environment.

    Attributes:
        tree: Over the routes.
        words: What the routes have places for.
        problems: Why routes are left out: a variable without a value, mostly.
    """

    __slots__ = ("__weakref__", "problems", "tree", "words")

    def __init__(
        self, tree: Tree[CompiledRoute], words: Words, problems: tuple[Problem, ...]
    ) -> None:
        """Make a table.

        Args:
            tree: Over the routes.
            words: What the routes have places for.
            problems: See there.
        """
        self.tree = tree
        self.words = words
        self.problems = problems

    @property
    @abstractmethod
    def routes(self) -> Ordered:
        """The routes with their values filled in, the one that wins first."""

    @abstractmethod
    def rank(self, route: CompiledRoute) -> Rank:
        """Return the rank of a route that ``match`` returned."""

    def match(self, facts: Facts) -> Match | None:
        """Return the route that wins and what it captured, or None."""
        return match(self.tree, self.words, facts)

    def candidates(self, facts: Facts) -> tuple[CompiledRoute, ...]:
        """Return the routes that ``match`` would ask, if all refused."""
        return candidates(self.tree, facts)


def match(tree: Tree[CompiledRoute], words: Words, facts: Facts) -> Match | None:
    """Return the route of a table that wins and what it captured, or None.

    Args:
        tree: Of the table.
        words: Of the table.
        facts: Of the request.
    """
    facts.words = words
    for route in candidates(tree, facts):
        params = route.accepts(facts)
        if params is not None:
            return route, params
    return None


class RouteTable(Table):
    """Routes that were compiled for one environment's values."""

    __slots__ = ("_routes",)

    def __init__(self, routes: Iterable[CompiledRoute], problems: tuple[Problem, ...]) -> None:
        """Sort and index the routes."""
        self._routes = tuple(sorted(routes, key=_order))
        super().__init__(grown(self._routes), NO_WORDS, problems)

    @property
    def routes(self) -> Ordered:
        """The routes."""
        return self._routes

    def rank(self, route: CompiledRoute) -> Rank:
        """Return the rank of a route."""
        return route.rank


def grown(routes: Ordered) -> Tree[CompiledRoute]:
    """Return the tree over some routes."""
    return grow(routes, [route.index_keys() for route in routes])


def compile_table(components: Iterable[ComponentRoutes], layers: Layers) -> RouteTable:
    """Return the table for one environment's values; never raises, see ``problems``.

    Args:
        components: What each component declares.
        layers: Variables, highest precedence first.
    """
    routes, problems = compile_routes(components, layers)
    return RouteTable(routes, tuple(problems))


def compile_routes(
    components: Iterable[ComponentRoutes], layers: Layers
) -> tuple[list[CompiledRoute], list[Problem]]:
    """Return the routes for one environment's values, and why others cannot be had."""
    routes: list[CompiledRoute] = []
    problems: list[Problem] = []
    for each in components:
        for route in each.routes:
            found = _compile(each.component, route, layers)
            if isinstance(found, CompiledRoute):
                routes.append(found)
            else:
                problems += found
    return routes, problems


def place(component: str, route: Route) -> str:
    """Return where a rule stands in its deployment, as a path for problems."""
    return f"components.{component}.routes[{route.id}].rule"


def _order(route: CompiledRoute) -> tuple[int, int, str, int]:
    priority, length = route.rank
    return -priority, -length, route.component, route.route.id


def _compile(component: str, route: Route, layers: Layers) -> CompiledRoute | list[Problem]:
    path = place(component, route)
    try:
        rule = compile_rule(route.rule)
        fillings, missing = rule.fillings(layers)
        if not missing:
            return CompiledRoute(component, route, rule, fillings)
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
