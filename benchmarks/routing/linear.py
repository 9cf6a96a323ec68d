"""The baseline: a linear scan of the same compiled rules, in order of priority."""

from __future__ import annotations

from collections.abc import Iterable

from routing.language.facts import Facts
from routing.language.segments import Params
from routing.request import GenesisRequest
from routing.table.matcher import CompiledRoute

Ranked = list[CompiledRoute]


def ranked(routes: Iterable[CompiledRoute]) -> Ranked:
    """Return the routes, highest rank first."""
    return sorted(routes, key=lambda route: route.rank, reverse=True)


def scan(request: GenesisRequest, routes: Ranked) -> tuple[CompiledRoute, Params] | None:
    """Return the first route that accepts the request."""
    facts = Facts(request)
    for route in routes:
        params = route.accepts(facts)
        if params is not None:
            return route, params
    return None
