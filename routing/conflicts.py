"""Conflicts: routes that tie, so that one of them never gets a request.

``routing.table.priority`` defines ties and decides them; this module finds and reports them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial

import msgspec

from kubefox.errors import Problem
from kubefox.steps import Steps, in_steps
from routing.snapshot.snapshot import Snapshot
from routing.table.matcher import CompiledRoute
from routing.table.priority import tie_key, tie_key_for_any_values

MAX_TIES = 20
"""Routes that are shown as ties of one route."""


class PlacedRoute(msgspec.Struct, frozen=True):
    """A compiled route and its place in the object that is checked.

    Attributes:
        route: The route.
        path: Path of its rule, as in ``Problem.path``.
    """

    route: CompiledRoute
    path: str


class RouteConflict(msgspec.Struct, frozen=True, kw_only=True):
    """An active route that ties with the checked one.

    Attributes:
        virtual_environment: Virtual environment of the active release.
        release: Id of the active release.
        deployment: Name of the deployment.
        path: Path of the route within its deployment.
        rule: Text of the rule.
    """

    virtual_environment: str
    release: str
    deployment: str
    path: str
    rule: str


def conflicts_within(routes: Iterable[PlacedRoute]) -> Steps[list[Problem]]:
    """Find the routes that tie with an earlier one of the same release."""
    return _conflicts(routes, _tie_key)


def conflicts_for_any_values(routes: Iterable[PlacedRoute]) -> Steps[list[Problem]]:
    """Find the routes that tie with an earlier one in every environment.

    Args:
        routes: Compiled with ``ANY_VALUES``.
    """
    return _conflicts(routes, _tie_key_for_any_values)


def conflicts_elsewhere(
    virtual_environment: str, routes: Iterable[PlacedRoute], snapshot: Snapshot
) -> Steps[list[Problem]]:
    """Find the routes that tie with one released in another environment."""
    problems = []
    for placed in routes:
        for tie in (yield from ties(placed.route, snapshot)):
            if tie.virtual_environment != virtual_environment:
                where = f"{tie.path} of deployment {tie.deployment}"
                released = f"active in {tie.virtual_environment} by release {tie.release}"
                problem = _conflict_problem(
                    placed,
                    f"{where}, {released} ({tie.rule})",
                    "have the environments' variables differ in it, ",
                )
                problems.append(problem)
    return problems


def ties(route: CompiledRoute, snapshot: Snapshot) -> Steps[list[RouteConflict]]:
    """Return routes of active releases that tie with ``route``, perhaps itself among them.

    Of many, only ``MAX_TIES`` are returned, or a few more: there may be a release for each preview.
    """
    wanted = _tie_key(route)
    candidates = dict.fromkeys(
        released
        for key in route.index_keys()
        for released in snapshot.release_index.candidates_for_key(key)
    )
    found: list[RouteConflict] = []
    for released in candidates:
        binding = yield from in_steps(partial(snapshot.binding_of, released))
        routes = yield from binding.table.resolved_routes()
        # Ranks are compared before predicates, which may hold long lists.
        ranked = [other for other in routes if other.rank == route.rank]
        found += [
            RouteConflict(
                virtual_environment=binding.context.virtual_environment,
                release=binding.context.release,
                deployment=binding.context.deployment,
                path=other.rule_path,
                rule=other.rule.text,
            )
            for other in ranked
            if _tie_key(other) == wanted
        ]
        yield
        if len(found) >= MAX_TIES:
            break
    return found


class _Placeholders(Mapping[str, str]):
    """A different value for every variable."""

    def __getitem__(self, name: str) -> str:
        return f"value-of-{name}"

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


ANY_VALUES = (_Placeholders(),)
"""Layers with which to check what holds for all values of variables."""


def _conflicts(
    routes: Iterable[PlacedRoute], key: Callable[[CompiledRoute], Hashable]
) -> Steps[list[Problem]]:
    """Return a problem for each route whose key an earlier one has; one route in each step."""
    first: dict[Hashable, PlacedRoute] = {}
    problems = []
    for placed in routes:
        other = first.setdefault(key(placed.route), placed)
        if other is not placed:
            problem = _conflict_problem(placed, f"{other.path} ({other.route.rule.text})")
            problems.append(problem)
        yield
    return problems


def _tie_key(route: CompiledRoute) -> Hashable:
    return tie_key(route.rank, route.predicate)


def _tie_key_for_any_values(route: CompiledRoute) -> Hashable:
    return tie_key_for_any_values(route.route.priority, route.rule, route.predicate)


def _conflict_problem(placed: PlacedRoute, other: str, remedy: str = "") -> Problem:
    """Return the problem that a route ties with ``other``; ``remedy`` adds one more way out."""
    return Problem(
        type="RouteConflict",
        message=f"rule {placed.route.rule.text} always ties with {other}: "
        f"one of them would never get a request; {remedy}change a rule or give one a priority",
        path=placed.path,
    )
