"""The baseline: the same compiled rules, asked one after another in the order they win."""

from __future__ import annotations

from collections.abc import Iterable

from routing.facts import Facts
from routing.matcher import CompiledRoute
from routing.request import GenesisRequest
from routing.segments import Params

Ranked = list[CompiledRoute]


def ranked(routes: Iterable[CompiledRoute]) -> Ranked:
    """Return the routes, highest rank first."""
    return sorted(routes, key=lambda each: each.rank, reverse=True)


def scan(request: GenesisRequest, routes: Ranked) -> tuple[CompiledRoute, Params] | None:
    """Return the first that accepts."""
    facts = Facts(request)
    for route in routes:
        params = route.accepts(facts)
        if params is not None:
            return route, params
    return None
