"""The decision: which component version gets a genesis event, in which context.

With both selectors, the deployment's routes are matched with the environment's live values. With
the virtual environment alone, or without a selector, the routes of active releases are matched.

What a request may select is decided before anything else of the selected objects is read, so that
the answer is one and the same for names that do not exist and names that may not be selected. A
released deployment may always be selected; then its release serves the request.

A decision must be short, because it holds the loop. If it takes long, ``resolve`` refuses it and
``resolve_in_steps`` makes it. That is so for a context whose table must be made first, and where
many releases could have the route, or their regular expressions have much work together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter

import msgspec

from kubefox.errors import (
    EnvironmentNotFound,
    FoxError,
    HeadersTooLarge,
    InvalidContext,
    InvalidSelector,
    Problem,
    ReleaseNotFound,
    RouteNotFound,
    Unavailable,
)
from kubefox.selection import Access
from kubefox.steps import Steps, TakesLong, in_steps
from routing.language.facts import MAX_MATCH_WORK, Facts
from routing.language.segments import Params
from routing.request import GenesisRequest
from routing.selectors import Selectors
from routing.snapshot.active_release import ActiveRelease, Released
from routing.snapshot.route_binding import RouteBinding, Target
from routing.snapshot.route_bindings import not_selectable, selectable_environment
from routing.snapshot.snapshot import Snapshot
from routing.table.matcher import CompiledRoute, match
from routing.table.priority import Names, Rank, Recency, wins_over

MAX_RELEASES_AT_ONCE = 1_000
"""Releases that are matched in one piece; one takes 1 µs to 3 µs."""
CHEAP_WORK = MAX_MATCH_WORK // 100
"""Work of regular expressions that the releases of plain URLs have each, before all others."""
MAX_EXPENSIVE_WORK = 10 * MAX_MATCH_WORK
"""Work of all releases together that need more than ``CHEAP_WORK``."""

MAX_SHOWN_PROBLEMS = 5


class Decision(msgspec.Struct, frozen=True):
    """The receiver of an event and the parameters that its rule captured.

    Attributes:
        target: Shared by all decisions for one route of one binding.
        params: Captured values, decoded. ``PathPrefix`` adds ``path_suffix``, which starts with
            ``/``.
    """

    target: Target
    params: dict[str, str]


def resolve(
    request: GenesisRequest,
    selectors: Selectors,
    snapshot: Snapshot,
    access: Access = Access.OPEN,
) -> Decision:
    """Return the decision for a genesis event.

    Args:
        request: The event.
        selectors: What it selects.
        snapshot: The control plane's data.
        access: What it may select.

    Raises:
        InvalidSelector: A deployment is selected without a virtual environment.
        DeploymentNotFound: No deployment has the selected name.
        EnvironmentNotFound: No virtual environment has the selected name, or the request may not
            select what it names.
        ReleaseNotFound: The selected virtual environment has no active release.
        RouteNotFound: No route accepts the request.
        InvalidContext: No route accepts it, and some routes lack variables.
        Unavailable: No route accepts it, and the snapshot lacks records that could change this.
        HeadersTooLarge: The request has more text than may be matched.
        TakesLong: Use ``resolve_in_steps``.
    """
    facts, records, binding = Facts(request), snapshot.records, selectors.memo
    # ``isinstance`` takes 14 ns longer for an empty memo, which every plain URL has.
    if (
        type(binding) is not RouteBinding
        or binding.verified_for is not records.version
        or binding.needed_access > access
    ):
        deployment, virtual_environment = selectors.deployment, selectors.virtual_environment
        if deployment is None:
            return _released(facts, virtual_environment, snapshot, access)
        if virtual_environment is None:
            raise needs_environment(deployment)
        latest = binding if isinstance(binding, RouteBinding) else None
        binding = selected_binding(deployment, virtual_environment, snapshot, access, latest)
        if binding.needed_access:
            selectors.memo = binding
    found = match(binding.tree, binding.segment_values, facts)
    if found is None:
        raise _no_route(binding)
    route, params = found
    return Decision(binding.target(route), params or {})


def resolve_in_steps(
    request: GenesisRequest,
    selectors: Selectors,
    snapshot: Snapshot,
    access: Access = Access.OPEN,
) -> Steps[Decision]:
    """Return the decision of ``resolve``, however long it takes.

    Raises:
        FoxError: As in ``resolve``.
    """
    try:
        return (yield from in_steps(lambda: resolve(request, selectors, snapshot, access)))
    except ManyReleases as many:
        candidates, virtual_environment = many.candidates, selectors.virtual_environment
    facts = Facts(request)
    best = yield from _best_in_steps(facts, candidates, snapshot)
    if best is None:
        raise _not_released(facts, virtual_environment, snapshot, access)
    return Decision(best.binding.target(best.route), best.params or {})


def selected_binding(
    deployment: str,
    virtual_environment: str,
    snapshot: Snapshot,
    access: Access,
    latest: RouteBinding | None = None,
) -> RouteBinding:
    """Return the binding of a deployment in a virtual environment, as far as it may be selected.

    Args:
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        snapshot: The control plane's data.
        access: What the request may select.
        latest: An earlier result for these names, perhaps of another snapshot.

    Raises:
        FoxError: As in ``resolve``.
    """
    if access:
        explicit = snapshot.route_bindings.explicit
        with suppress(EnvironmentNotFound):
            return explicit(deployment, virtual_environment, snapshot.records, latest, access)
    return _released_binding(deployment, virtual_environment, snapshot)


def _released_binding(
    deployment: str, virtual_environment: str, snapshot: Snapshot
) -> RouteBinding:
    """Return the binding of a released deployment, which every request may select."""
    active = snapshot.release_index.active_releases.get(virtual_environment)
    release = None if active is None else active.state.fields.active
    if active is not None and release is not None:
        for app, target in release.apps.items():
            if target.deployment == deployment:
                found = active.apps.get(app)
                if found is None:
                    raise _incomplete(virtual_environment, active.missing)
                return snapshot.binding_of(found.released)
    raise not_selectable(virtual_environment)


class ManyReleases(TakesLong):
    """Many releases could have the route, or they have much work together.

    Args:
        candidates: The released apps.
    """

    def __init__(self, candidates: Sequence[Released]) -> None:
        super().__init__(f"{len(candidates)} released apps could have the route")
        self.candidates = candidates


def needs_environment(deployment: str) -> InvalidSelector:
    """Return the error for a deployment without a virtual environment."""
    return InvalidSelector(
        f"kf-dep={deployment} needs a virtual environment: "
        f"use ?kf-dep={deployment}&kf-ve=<virtual environment>"
    )


def find_active(name: str, snapshot: Snapshot, access: Access) -> ActiveRelease:
    """Return the active release of a virtual environment.

    Args:
        name: Name of the virtual environment.
        snapshot: The control plane's data.
        access: What the request may select, apart from the release.

    Raises:
        EnvironmentNotFound: No virtual environment has the name; or none with an active release,
            and the request may select only what is released.
        ReleaseNotFound: The virtual environment has no active release.
    """
    active = snapshot.release_index.active_releases.get(name)
    if active is None or name not in snapshot.records.virtual_environments:
        selectable_environment(name, snapshot.records, access)
        raise ReleaseNotFound(f"virtual environment {name} has no active release")
    return active


class _Contender(msgspec.Struct, frozen=True):
    """A route of an active release that accepts the request; see ``routing.table.priority``."""

    released: Released
    binding: RouteBinding
    route: CompiledRoute
    params: Params

    @property
    def rank(self) -> Rank:
        return self.binding.table.rank(self.route)

    @property
    def recency(self) -> Recency:
        return self.binding.recency

    @property
    def names(self) -> Names:
        route, released = self.route, self.released
        return route.component, route.route.id, released.app, released.virtual_environment


def _released(
    facts: Facts, virtual_environment: str | None, snapshot: Snapshot, access: Access
) -> Decision:
    candidates = snapshot.release_index.candidates(facts)
    if virtual_environment is not None:
        find_active(virtual_environment, snapshot, access)
        candidates = [
            released
            for released in candidates
            if released.virtual_environment == virtual_environment
        ]
    if len(candidates) > MAX_RELEASES_AT_ONCE:
        raise ManyReleases(candidates)
    try:
        best = _best(facts, candidates, snapshot)
    except HeadersTooLarge as error:
        if len(candidates) == 1:
            raise
        raise ManyReleases(candidates) from error
    if best is None:
        raise _not_released(facts, virtual_environment, snapshot, access)
    return Decision(best.binding.target(best.route), best.params or {})


def _not_released(
    facts: Facts, virtual_environment: str | None, snapshot: Snapshot, access: Access
) -> FoxError:
    if virtual_environment is None:
        return _no_released_route(facts, snapshot)
    return _no_route_in(find_active(virtual_environment, snapshot, access), snapshot)


def _best(
    facts: Facts,
    candidates: Iterable[Released],
    snapshot: Snapshot,
    best: _Contender | None = None,
) -> _Contender | None:
    """Return the contender that wins among the candidates and ``best``."""
    version = snapshot.records.version
    for released in candidates:
        binding = released.memo
        if binding is None or binding.verified_for is not version:
            binding = snapshot.binding_of(released)
        found = match(binding.tree, binding.segment_values, facts)
        if found is not None:
            contender = _Contender(released, binding, *found)
            if best is None or wins_over(contender, best):
                best = contender
    return best


def _best_in_steps(
    facts: Facts, candidates: Iterable[Released], snapshot: Snapshot
) -> Steps[_Contender | None]:
    """Return the contender that wins, with the same limit of work for each release alone.

    A release whose regular expressions have too much work with this request does not take part: its
    own URLs with selectors answer such a request with 431 as well. So a release never takes the
    work of another one. The expensive releases, which need more than ``CHEAP_WORK``, are tried last
    and have one limit together, so that a request does not cost without bound.

    Raises:
        HeadersTooLarge: No release accepts the request, and some did not take part.
    """
    best, expensive = None, []
    for released in candidates:
        facts.match_work_left = CHEAP_WORK
        try:
            best = yield from in_steps(partial(_best, facts, [released], snapshot, best))
        except HeadersTooLarge:
            expensive.append(released)
        yield
    left, refused = MAX_EXPENSIVE_WORK, None
    # In the order of the names, so that every process decides alike.
    for released in sorted(expensive, key=attrgetter("virtual_environment", "app")):
        work = facts.match_work_left = min(left, MAX_MATCH_WORK)
        try:
            best = yield from in_steps(partial(_best, facts, [released], snapshot, best))
        except HeadersTooLarge as error:
            refused = error
        left -= work - max(0, facts.match_work_left)
        yield
    if best is None and refused is not None:
        raise refused
    return best


def _no_route(binding: RouteBinding) -> InvalidContext | RouteNotFound:
    context = binding.context
    where = f"deployment {context.deployment} in {context.virtual_environment}"
    return _not_accepted(where, binding.table.problems)


def _no_route_in(
    active: ActiveRelease, snapshot: Snapshot
) -> InvalidContext | RouteNotFound | Unavailable:
    name = active.virtual_environment
    if active.missing:
        return _incomplete(name, active.missing)
    bindings = (snapshot.binding_of(app.released) for app in active.apps.values())
    problems = tuple(problem for binding in bindings for problem in binding.table.problems)
    return _not_accepted(f"the release of {name}", problems)


def _no_released_route(facts: Facts, snapshot: Snapshot) -> RouteNotFound | Unavailable:
    # Component versions hold the rules; deployments and manifests name the component versions. A
    # release that lacks one of these records might serve any URL, so no URL is surely unknown.
    for name, missing in snapshot.release_index.incomplete.items():
        return _incomplete(name, missing)
    return RouteNotFound(f"no released route accepts {facts.method} {facts.request.path}")


def _not_accepted(where: str, problems: tuple[Problem, ...]) -> InvalidContext | RouteNotFound:
    if problems:
        shown = [f"{problem.path}: {problem.message}" for problem in problems[:MAX_SHOWN_PROBLEMS]]
        more = len(problems) - len(shown)
        listed = "; ".join([*shown, f"and {more} more"] if more else shown)
        return InvalidContext(f"no usable route of {where} accepts the request: {listed}")
    return RouteNotFound(f"no route of {where} accepts the request")


def _incomplete(name: str, missing: tuple[str, ...]) -> Unavailable:
    return Unavailable(f"the local snapshot lacks {missing[0]} of the release of {name}: retry")
