"""Explain a decision: all routes that were candidates, and why each of them won or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from heapq import nsmallest

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from kubefox.component import Dependency, DependencyKind, Value
from kubefox.context import EventContext
from kubefox.deployment import HasComponents
from kubefox.environment import overlay
from kubefox.errors import FoxError, HeadersTooLarge, Problem
from kubefox.selection import Access
from kubefox.steps import Steps, in_steps
from routing.conflicts import RouteConflict, ties
from routing.explanation import Candidate, ClientError, Explanation, GraphEdge, GraphNode
from routing.language.facts import MAX_MATCH_WORK, Facts
from routing.language.segments import Params
from routing.request import GenesisRequest
from routing.resolver import Decision, find_active, resolve_in_steps, selected_binding
from routing.selectors import Selectors
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.route_binding import RouteBinding
from routing.snapshot.route_bindings import selection_in
from routing.snapshot.snapshot import Snapshot
from routing.table.matcher import CompiledRoute, rule_path
from routing.table.priority import Names, Rank, Recency, best_first
from routing.variables import variable_problems

MAX_CANDIDATES = 100


def explain(
    request: GenesisRequest,
    selectors: Selectors,
    snapshot: Snapshot,
    access: Access = Access.OPEN,
) -> Steps[Explanation]:
    """Return, in steps, the decision of ``resolve`` for the same arguments, and its reasons."""
    facts = Facts(request)
    decision: Decision | FoxError
    try:
        decision = yield from resolve_in_steps(request, selectors, snapshot, access)
    except FoxError as error:
        decision = error
    bindings = yield from _bindings(facts, selectors, snapshot, access)
    with_problems = [*bindings, *(yield from _unindexed(selectors, bindings, snapshot))]
    contenders: list[_BoundRoute] = []
    for bound in bindings:
        compiled = yield from bound.binding.table.resolved_routes()
        contenders += [_BoundRoute(bound, route) for route in compiled]
        yield
    routes = best_first(contenders)
    unusable: list[Candidate] = []
    for bound in with_problems:
        unusable += _unusable(bound.binding, snapshot)
        yield
    usable = []
    for route in routes[:MAX_CANDIDATES]:
        usable.append(_candidate(route, facts, decision))
        yield
    explanation = Explanation(
        # A token is as good as a password for what it shares.
        selectors=replace(selectors, memo=UNSET, share=None),
        selection=selection_in(selectors.virtual_environment or "", snapshot.records),
        candidates=(*usable, *unusable[: MAX_CANDIDATES - len(usable)]),
        omitted=max(0, len(routes) + len(unusable) - MAX_CANDIDATES),
        problems=tuple(problem for bound in with_problems for problem in _problems(bound)),
    )
    if isinstance(decision, FoxError):
        error_shown = ClientError(code=decision.code, detail=decision.detail)
        return replace(explanation, error=error_shown, status=decision.http_status)
    winner = next(route for route in routes if _wins(route, decision))
    return replace(
        explanation,
        winner=_candidate(winner, facts, decision),
        graph=_graph(decision.target.deployment, snapshot),
        problems=(
            *explanation.problems,
            *(yield from _variable_problems(winner.bound, snapshot)),
        ),
        conflicts=tuple((yield from _conflicts(winner, snapshot))),
    )


class _Bound(msgspec.Struct, frozen=True):
    """A binding; ``app`` is the released app, or empty for an explicit URL."""

    binding: RouteBinding
    app: str = ""


class _BoundRoute(msgspec.Struct, frozen=True):
    """A route in its binding: a contender as in ``routing.table.priority``."""

    bound: _Bound
    route: CompiledRoute

    @property
    def rank(self) -> Rank:
        return self.route.rank

    @property
    def recency(self) -> Recency:
        return self.bound.binding.recency

    @property
    def names(self) -> Names:
        route, virtual_environment = self.route, self.bound.binding.context.virtual_environment
        return route.component, route.route.id, self.bound.app, virtual_environment


def _bindings(
    facts: Facts, selectors: Selectors, snapshot: Snapshot, access: Access
) -> Steps[list[_Bound]]:
    deployment, virtual = selectors.deployment, selectors.virtual_environment
    try:
        if deployment is None:
            return (yield from _released(facts, virtual, snapshot, access))
        if virtual is not None:
            selected = partial(selected_binding, deployment, virtual, snapshot, access)
            return [_Bound((yield from in_steps(selected)))]
    except FoxError:
        # The selectors name nothing. ``resolve`` raised the same error, so there is no candidate.
        return []
    return []


def _released(
    facts: Facts, virtual: str | None, snapshot: Snapshot, access: Access
) -> Steps[list[_Bound]]:
    if virtual is None:
        candidates = snapshot.release_index.candidates(facts)
    else:
        active = find_active(virtual, snapshot, access)
        candidates = [app.released for app in active.apps.values()]
    bindings = []
    for released in candidates:
        binding = yield from in_steps(partial(snapshot.binding_of, released))
        bindings.append(_Bound(binding, released.app))
        yield
    return bindings


def _unindexed(
    selectors: Selectors, bindings: list[_Bound], snapshot: Snapshot
) -> Steps[list[_Bound]]:
    """Return, for a plain URL, the released apps whose routes lack values and are not indexed."""
    unindexed: list[_Bound] = []
    if selectors.deployment is not None or selectors.virtual_environment is not None:
        return unindexed
    index, found = snapshot.release_index, {bound.binding for bound in bindings}
    for name in nsmallest(MAX_CANDIDATES, index.lacking_values):
        for app, active in index.active_releases[name].apps.items():
            binding = yield from in_steps(partial(snapshot.binding_of, active.released))
            if binding.table.problems and binding not in found:
                unindexed.append(_Bound(binding, app))
            yield
    return unindexed


def _problems(bound: _Bound) -> Iterator[Problem]:
    """Return the problems of a binding, with the release in their paths."""
    above = _above(bound)
    problems = bound.binding.table.problems
    return (replace(problem, path=f"{above}{problem.path}") for problem in problems)


def _variable_problems(bound: _Bound, snapshot: Snapshot) -> Steps[list[Problem]]:
    """Return the problems that components of a binding have with the values of its environment."""
    context = bound.binding.context
    definitions, _ = definitions_of(bound.binding.deployment, snapshot.records)
    variables, above = _variables(context, snapshot), _above(bound)
    problems = yield from variable_problems(definitions, variables, above)
    where = f"in virtual environment {context.virtual_environment}"
    return [replace(problem, message=f"{problem.message}, {where}") for problem in problems]


def _variables(context: EventContext, snapshot: Snapshot) -> Mapping[str, Value]:
    """Return the variables of a context. Those of a binding are current for its rules only."""
    if context.manifest:
        manifest = snapshot.manifest(context.virtual_environment, context.manifest)
        return manifest.data.vars if manifest is not None else {}
    virtual = snapshot.virtual_environments[context.virtual_environment]
    return overlay(snapshot.environments[virtual.environment], virtual).vars


def _above(bound: _Bound) -> str:
    """Return the begin of the paths of a binding's problems."""
    virtual_environment = bound.binding.context.virtual_environment
    return f"releases.{virtual_environment}.apps.{bound.app}." if bound.app else ""


def _unusable(binding: RouteBinding, snapshot: Snapshot) -> Iterator[Candidate]:
    """Yield the routes of a binding that cannot be used, with the reasons."""
    reasons = {problem.path: problem.message for problem in binding.table.problems}
    definitions = definitions_of(binding.deployment, snapshot.records)[0] if reasons else {}
    for name, definition in sorted(definitions.items()):
        for route in definition.routes:
            path = rule_path(name, route)
            if path in reasons:
                yield Candidate(
                    virtual_environment=binding.context.virtual_environment,
                    release=binding.context.release,
                    deployment=binding.context.deployment,
                    component=name,
                    hash=binding.deployment.components[name],
                    route=route.id,
                    rule=route.rule,
                    resolved=route.rule,
                    priority=route.priority,
                    length=0,
                    refused_by=reasons[path],
                )


def _candidate(bound_route: _BoundRoute, facts: Facts, decision: Decision | FoxError) -> Candidate:
    binding, route = bound_route.bound.binding, bound_route.route
    params, refusal = _match(route, facts)
    priority, length = route.rank
    return Candidate(
        virtual_environment=binding.context.virtual_environment,
        release=binding.context.release,
        deployment=binding.context.deployment,
        component=route.component,
        hash=binding.deployment.components[route.component],
        route=route.route.id,
        rule=route.rule.text,
        resolved=route.resolved_text,
        priority=priority,
        length=length,
        refused_by=refusal,
        params=params or {},
        wins=_wins(bound_route, decision),
    )


def _match(route: CompiledRoute, facts: Facts) -> tuple[Params | None, str]:
    """Return the parameters, or None and the predicate or the limit that refused."""
    facts.match_work_left = MAX_MATCH_WORK
    try:
        params = route.accepts(facts)
        return params, "" if params is not None else route.predicate.refusal(facts)
    except HeadersTooLarge as error:
        return None, error.detail


def _graph(deployment: HasComponents, snapshot: Snapshot) -> tuple[GraphNode, ...]:
    definitions, _ = definitions_of(deployment, snapshot.records)
    return tuple(
        GraphNode(
            component=name,
            hash=deployment.components[name],
            dependencies=tuple(
                _edge(dependency, deployment) for dependency in definition.dependencies
            ),
        )
        for name, definition in sorted(definitions.items())
    )


def _edge(dependency: Dependency, deployment: HasComponents) -> GraphEdge:
    is_component = dependency.kind is DependencyKind.COMPONENT
    digest = deployment.components.get(dependency.name, "") if is_component else ""
    return GraphEdge(name=dependency.name, kind=dependency.kind, hash=digest)


def _conflicts(winner: _BoundRoute, snapshot: Snapshot) -> Steps[list[RouteConflict]]:
    context = winner.bound.binding.context
    if not context.release:
        return []
    own = (context.virtual_environment, context.deployment, winner.route.rule_path)
    found = yield from ties(winner.route, snapshot)
    return [tie for tie in found if (tie.virtual_environment, tie.deployment, tie.path) != own]


def _wins(bound_route: _BoundRoute, decision: Decision | FoxError) -> bool:
    if isinstance(decision, FoxError):
        return False
    target, route = decision.target, bound_route.route
    is_same_context = target.context is bound_route.bound.binding.context
    return is_same_context and (target.component, target.route) == (
        route.component,
        route.route.id,
    )
