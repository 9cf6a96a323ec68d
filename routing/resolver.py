"""The decision: which component version a genesis event goes to, in which context.

With both selectors the deployment's own routes are matched with the environment's live values. With
only the virtual environment, or with neither, the routes of active releases are.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from model.errors import (
    InvalidContext,
    InvalidSelector,
    Problem,
    ReleaseNotFound,
    RouteNotFound,
    Unavailable,
)
from routing.active import ActiveRelease, Released
from routing.bindings import Binding, Target, virtual_environment
from routing.facts import Facts
from routing.matcher import CompiledRoute, Rank, match
from routing.request import GenesisRequest
from routing.segments import Params
from routing.selectors import Selectors
from routing.snapshot import Snapshot


class Decision(msgspec.Struct, frozen=True):
    """Where an event goes and what its rule captured.

    Attributes:
        target: Shared by all decisions for one route of one binding.
        params: Captured values, decoded; with PathPrefix also ``path_suffix``, from its ``/`` on.
    """

    target: Target
    params: dict[str, str]


def resolve(request: GenesisRequest, selectors: Selectors, snapshot: Snapshot) -> Decision:
    """Return the decision for a genesis event.

    Raises:
        InvalidSelector: A deployment without a virtual environment.
        DeploymentNotFound: The deployment named is unknown.
        EnvironmentNotFound: The virtual environment named is unknown.
        ReleaseNotFound: The virtual environment named has no active release.
        RouteNotFound: Nothing accepts the request.
        InvalidContext: Nothing does, and some routes lack variables.
        Unavailable: Nothing does, and records that could change this are not here.
    """
    facts, records = Facts(request), snapshot.records
    binding: Binding | None = selectors.binding or None
    if binding is None or binding.verified is not records.moment:
        deployment, virtual = selectors.deployment, selectors.virtual_environment
        if deployment is None:
            return _released(facts, virtual, snapshot)
        if virtual is None:
            raise needs_environment(deployment)
        binding = snapshot.bindings.explicit(deployment, virtual, records, binding)
        selectors.binding = binding
    found = match(binding.tree, binding.words, facts)
    if found is None:
        raise _no_route(binding)
    return Decision(binding.target(found[0]), found[1] or {})


def needs_environment(deployment: str) -> InvalidSelector:
    """Return the error for a deployment without a virtual environment."""
    return InvalidSelector(
        f"kf-dep={deployment} needs a virtual environment: "
        f"use ?kf-dep={deployment}&kf-ve=<virtual environment>"
    )


def find_active(name: str, snapshot: Snapshot) -> ActiveRelease:
    """Return the active release of a virtual environment.

    Raises:
        EnvironmentNotFound: No virtual environment has the name.
        ReleaseNotFound: It has no active release.
    """
    virtual_environment(name, snapshot.records)
    active = snapshot.plain.active.get(name)
    if active is None:
        raise ReleaseNotFound(f"virtual environment {name} has no active release")
    return active


class Contender(msgspec.Struct, frozen=True):
    """A route of an active release that accepts the request."""

    released: Released
    binding: Binding
    route: CompiledRoute
    params: Params

    def wins_over(self, other: Contender) -> bool:
        """Return whether this comes first: rank, then the later release, then names and id."""
        rank, its_rank = self._rank(), other._rank()
        if rank != its_rank:
            return rank > its_rank
        if self.binding.recency != other.binding.recency:
            return self.binding.recency > other.binding.recency
        return self._names() < other._names()

    def _rank(self) -> Rank:
        return self.binding.table.rank(self.route)

    def _names(self) -> tuple[str, int, str, str]:
        released = self.released
        return (
            self.route.component,
            self.route.route.id,
            released.app,
            released.virtual_environment,
        )


def _released(facts: Facts, virtual: str | None, snapshot: Snapshot) -> Decision:
    candidates = snapshot.plain.candidates(facts)
    active = None
    if virtual is not None:
        active = find_active(virtual, snapshot)
        candidates = [each for each in candidates if each.virtual_environment == virtual]
    best = _best(facts, candidates, snapshot)
    if best is not None:
        return Decision(best.binding.target(best.route), best.params or {})
    raise _no_plain_route(facts, snapshot) if active is None else _no_route_in(active, snapshot)


def _best(facts: Facts, candidates: Iterable[Released], snapshot: Snapshot) -> Contender | None:
    best, moment = None, snapshot.records.moment
    for released in candidates:
        binding: Binding | None = released.binding
        if binding is None or binding.verified is not moment:
            binding = snapshot.bindings.released(released, snapshot.plain, snapshot.records)
        found = match(binding.tree, binding.words, facts)
        if found is not None:
            contender = Contender(released, binding, *found)
            if best is None or contender.wins_over(best):
                best = contender
    return best


def _no_route(binding: Binding) -> InvalidContext | RouteNotFound:
    context = binding.context
    where = f"deployment {context.deployment} in {context.virtual_environment}"
    return _nothing_accepts(where, binding.table.problems)


def _no_route_in(
    active: ActiveRelease, snapshot: Snapshot
) -> InvalidContext | RouteNotFound | Unavailable:
    name = active.virtual_environment
    if active.missing:
        return _incomplete(name, active.missing)
    bindings = (
        snapshot.bindings.released(each.released, snapshot.plain, snapshot.records)
        for each in active.apps.values()
    )
    problems = tuple(problem for each in bindings for problem in each.table.problems)
    return _nothing_accepts(f"the release of {name}", problems)


def _no_plain_route(facts: Facts, snapshot: Snapshot) -> RouteNotFound | Unavailable:
    # Rules are in component versions, and what names these is in deployments and manifests. With
    # one of them missing the release might serve any URL, so none can be said to have no route.
    for name, missing in snapshot.plain.waiting.items():
        return _incomplete(name, missing)
    return RouteNotFound(f"no released route accepts {_shown(facts)}")


def _nothing_accepts(where: str, problems: tuple[Problem, ...]) -> InvalidContext | RouteNotFound:
    if problems:
        listed = "; ".join(f"{each.path}: {each.message}" for each in problems)
        return InvalidContext(f"no usable route of {where} accepts the request: {listed}")
    return RouteNotFound(f"no route of {where} accepts the request")


def _incomplete(name: str, missing: tuple[str, ...]) -> Unavailable:
    return Unavailable(f"the release of {name} is not complete here: {missing[0]} is missing")


def _shown(facts: Facts) -> str:
    return f"{facts.method} {facts.request.path}"
