"""Routes that always tie: equal rank, and rules that accept the same requests.

Such routes are not ambiguous, the most recent release wins, but one of them never gets a request.
Two rules count as the same if they differ only in the order of ``&&`` and ``||``, in repetition and
in the names of parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

import msgspec

from model.errors import Problem
from routing.matcher import CompiledRoute
from routing.snapshot import Snapshot


class PlacedRoute(msgspec.Struct, frozen=True):
    """A compiled route and where it stands in what is being checked.

    Attributes:
        route: The route.
        path: Dotted place of its rule.
    """

    route: CompiledRoute
    path: str


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """An active route elsewhere that ties with one that is looked at."""

    virtual_environment: str
    release: str
    deployment: str
    path: str
    rule: str


def sameness(route: CompiledRoute) -> Hashable:
    """Return a value that is equal for routes that always tie."""
    return route.rank, route.predicate.shape()


def conflicts_within(routes: Iterable[PlacedRoute]) -> Iterator[Problem]:
    """Return a problem for every route that ties with an earlier one of the same release."""
    first: dict[Hashable, PlacedRoute] = {}
    for each in routes:
        other = first.setdefault(sameness(each.route), each)
        if other is not each:
            yield conflict_problem(each, f"{other.path} ({other.route.rule.text})")


def conflicts_elsewhere(
    virtual_environment: str, routes: Iterable[PlacedRoute], snapshot: Snapshot
) -> Iterator[Problem]:
    """Return a problem for every route that ties with one released in another environment."""
    for each in routes:
        for other in ties(each.route, snapshot):
            if other.virtual_environment != virtual_environment:
                where = f"{other.path} of deployment {other.deployment}"
                released = f"active in {other.virtual_environment} by release {other.release}"
                yield conflict_problem(
                    each,
                    f"{where}, {released} ({other.rule})",
                    "have the environments' variables differ in it, ",
                )


def ties(route: CompiledRoute, snapshot: Snapshot) -> Iterator[Conflict]:
    """Return every route of an active release that always ties with ``route``, itself included."""
    wanted = sameness(route)
    released = dict.fromkeys(
        found for key in route.index_keys() for found in snapshot.plain.near(key)
    )
    for each in released:
        binding = snapshot.bindings.released(each, snapshot.plain, snapshot.records)
        for other in binding.table.routes:
            if sameness(other) == wanted:
                yield Conflict(
                    virtual_environment=binding.context.virtual_environment,
                    release=binding.context.release,
                    deployment=binding.deployment.name,
                    path=other.place,
                    rule=other.rule.text,
                )


def conflict_problem(route: PlacedRoute, other: str, remedy: str = "") -> Problem:
    """Return the problem that a route ties with ``other``; ``remedy`` is one more way out."""
    return Problem(
        type="RouteConflict",
        message=f"rule {route.route.rule.text} always ties with {other}: "
        f"one of them would never get a request; {remedy}change a rule or give one a priority",
        path=route.path,
    )


class _Placeholder(Mapping[str, str]):
    """Gives every variable a value that tells variables apart."""

    def __getitem__(self, name: str) -> str:
        return f"value-of-{name}"

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


ANY_VALUES = (_Placeholder(),)
"""Layers for asking what holds whatever the values are."""


def conflicts_for_any_values(routes: Iterable[PlacedRoute]) -> Iterator[Problem]:
    """Return a problem for every pair that ties in every environment.

    Args:
        routes: Compiled with ``ANY_VALUES``.
    """
    first: dict[Hashable, PlacedRoute] = {}
    for each in routes:
        rule = each.route.rule
        length = (rule.fixed_length, tuple(sorted(rule.counted)))
        same = (each.route.route.priority, length, each.route.predicate.shape())
        other = first.setdefault(same, each)
        if other is not each:
            yield conflict_problem(each, f"{other.path} ({other.route.rule.text})")
