"""Why a request goes where it goes: the decision with everything it weighed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from model.component import Dependency, DependencyKind
from model.deployment import Deployment
from model.errors import FoxError, Problem
from routing.active import definitions_of
from routing.bindings import Binding
from routing.conflicts import Conflict, ties
from routing.facts import Facts
from routing.matcher import CompiledRoute, place
from routing.request import GenesisRequest
from routing.resolver import Decision, find_active, resolve
from routing.selectors import Selectors
from routing.snapshot import Snapshot

MAX_CANDIDATES = 100


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A route that was weighed.

    Attributes:
        virtual_environment: Whose values its rule has.
        release: Id of the release it is in, or empty.
        deployment: Name of the deployment.
        component: Name of the component.
        hash: Its full hash.
        route: Id of the route in the component.
        rule: As written.
        resolved: With its values; a list is shown as ``[a, b]``.
        priority: Explicit priority.
        length: Length of the resolved rule.
        refused_by: The predicate that refused, or why the route cannot be used at all and is not
            resolved; empty if it accepts.
        params: What it captured, if it accepts.
        wins: Whether the request goes here.
    """

    virtual_environment: str
    release: str
    deployment: str
    component: str
    hash: str
    route: int
    rule: str
    resolved: str
    priority: int
    length: int
    refused_by: str = ""
    params: dict[str, str] = {}
    wins: bool = False


class GraphEdge(msgspec.Struct, frozen=True, kw_only=True):
    """A dependency; ``hash`` is empty for an adapter or a component that is not there."""

    name: str
    kind: DependencyKind
    hash: str = ""


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """A component version of the deployment and what it may call."""

    component: str
    hash: str
    dependencies: tuple[GraphEdge, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What the client gets instead of an answer: ``FoxError.code`` and its text."""

    code: str
    detail: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The decision and its reasons; can be encoded as JSON as it is.

    Attributes:
        selectors: What was asked for and where it was found.
        candidates: In the order in which they would win, and then those that cannot be used, at
            most MAX_CANDIDATES.
        omitted: How many more there are.
        winner: The candidate that gets the request, None with an error.
        graph: Component versions of the winner's deployment, by name.
        problems: What the environments of the candidates lack; for a plain URL those of all active
            releases, as any of them might have been meant.
        conflicts: Active routes elsewhere that always tie with the winner.
        error: What the client gets instead.
        status: HTTP status of the error, 0 without.
    """

    selectors: Selectors
    candidates: tuple[Candidate, ...] = ()
    omitted: int = 0
    winner: Candidate | None = None
    graph: tuple[GraphNode, ...] = ()
    problems: tuple[Problem, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    error: Refusal | None = None
    status: int = 0


def explain(request: GenesisRequest, selectors: Selectors, snapshot: Snapshot) -> Explanation:
    """Return what ``resolve`` would do with the same arguments, and why."""
    facts = Facts(request)
    decision: Decision | FoxError
    try:
        decision = resolve(request, selectors, snapshot)
    except FoxError as error:
        decision = error
    bindings = _bindings(facts, selectors, snapshot)
    weighed = _in_order(bindings)
    lacking = [*bindings, *_unfindable(selectors, bindings, snapshot)]
    useless = [found for each in lacking for found in _useless(each.binding, snapshot)]
    usable = weighed[:MAX_CANDIDATES]
    explanation = Explanation(
        selectors=replace(selectors, binding=UNSET, rest=UNSET),
        candidates=(
            *(_candidate(each, facts, decision) for each in usable),
            *useless[: MAX_CANDIDATES - len(usable)],
        ),
        omitted=max(0, len(weighed) + len(useless) - MAX_CANDIDATES),
        problems=tuple(problem for each in lacking for problem in _problems(each)),
    )
    if isinstance(decision, FoxError):
        refusal = Refusal(code=decision.code, detail=decision.detail)
        return replace(explanation, error=refusal, status=decision.http_status)
    winner = next(each for each in weighed if _wins(each, decision))
    return replace(
        explanation,
        winner=_candidate(winner, facts, decision),
        graph=_graph(decision.target.deployment, snapshot),
        conflicts=tuple(_conflicts(winner, snapshot)),
    )


class _Bound(msgspec.Struct, frozen=True):
    binding: Binding
    app: str = ""


class _Weighed(msgspec.Struct, frozen=True):
    bound: _Bound
    route: CompiledRoute


def _bindings(facts: Facts, selectors: Selectors, snapshot: Snapshot) -> list[_Bound]:
    deployment, virtual = selectors.deployment, selectors.virtual_environment
    try:
        if deployment is None:
            return list(_released(facts, virtual, snapshot))
        if virtual is not None:
            return [_Bound(snapshot.bindings.explicit(deployment, virtual, snapshot.records))]
    except FoxError:
        # The names lead nowhere: ``resolve`` has said so, and there is nothing to weigh.
        return []
    return []


def _released(facts: Facts, virtual: str | None, snapshot: Snapshot) -> Iterator[_Bound]:
    if virtual is None:
        found = snapshot.plain.candidates(facts)
    else:
        found = [each.released for each in find_active(virtual, snapshot).apps.values()]
    for released in found:
        binding = snapshot.bindings.released(released, snapshot.plain, snapshot.records)
        yield _Bound(binding, released.app)


def _unfindable(
    selectors: Selectors, bindings: list[_Bound], snapshot: Snapshot
) -> Iterator[_Bound]:
    """Yield, for a plain URL, released apps with routes that have no values to be found by."""
    if selectors.deployment is not None or selectors.virtual_environment is not None:
        return
    plain, found = snapshot.plain, {each.binding for each in bindings}
    for name in islice(sorted(plain.lacking), MAX_CANDIDATES):
        for app, active in plain.active[name].apps.items():
            binding = snapshot.bindings.released(active.released, plain, snapshot.records)
            if binding.table.problems and binding not in found:
                yield _Bound(binding, app)


def _problems(each: _Bound) -> Iterator[Problem]:
    """Yield the problems of a binding, each with the release that it is of."""
    virtual, problems = each.binding.context.virtual_environment, each.binding.table.problems
    above = f"releases.{virtual}.apps.{each.app}." if each.app else ""
    return (replace(problem, path=f"{above}{problem.path}") for problem in problems)


def _useless(binding: Binding, snapshot: Snapshot) -> Iterator[Candidate]:
    """Yield the routes of a binding that cannot be used, each with the reason."""
    reasons = {each.path: each.message for each in binding.table.problems}
    definitions = definitions_of(binding.deployment, snapshot.records)[0] if reasons else {}
    for name, definition in sorted(definitions.items()):
        for route in definition.routes:
            if place(name, route) in reasons:
                yield Candidate(
                    virtual_environment=binding.context.virtual_environment,
                    release=binding.context.release,
                    deployment=binding.deployment.name,
                    component=name,
                    hash=binding.deployment.components[name],
                    route=route.id,
                    rule=route.rule,
                    resolved=route.rule,
                    priority=route.priority,
                    length=0,
                    refused_by=reasons[place(name, route)],
                )


def _in_order(bindings: list[_Bound]) -> list[_Weighed]:
    weighed = [_Weighed(each, route) for each in bindings for route in each.binding.table.routes]
    # Each sort keeps the order of the one before among equals, so the last is the first criterion.
    weighed.sort(key=_names)
    weighed.sort(key=lambda each: each.bound.binding.recency, reverse=True)
    weighed.sort(key=lambda each: each.route.rank, reverse=True)
    return weighed


def _names(each: _Weighed) -> tuple[str, int, str, str]:
    context = each.bound.binding.context
    route = each.route
    return route.component, route.route.id, each.bound.app, context.virtual_environment


def _candidate(each: _Weighed, facts: Facts, decision: Decision | FoxError) -> Candidate:
    binding, route = each.bound.binding, each.route
    params = route.accepts(facts)
    return Candidate(
        virtual_environment=binding.context.virtual_environment,
        release=binding.context.release,
        deployment=binding.deployment.name,
        component=route.component,
        hash=binding.deployment.components[route.component],
        route=route.route.id,
        rule=route.rule.text,
        resolved=route.resolved,
        priority=route.rank[0],
        length=route.rank[1],
        refused_by=route.predicate.refusal(facts) if params is None else "",
        params=params or {},
        wins=_wins(each, decision),
    )


def _graph(deployment: Deployment, snapshot: Snapshot) -> tuple[GraphNode, ...]:
    definitions, _ = definitions_of(deployment, snapshot.records)
    return tuple(
        GraphNode(
            component=name,
            hash=deployment.components[name],
            dependencies=tuple(_edge(each, deployment) for each in definition.dependencies),
        )
        for name, definition in sorted(definitions.items())
    )


def _edge(dependency: Dependency, deployment: Deployment) -> GraphEdge:
    is_component = dependency.kind is DependencyKind.COMPONENT
    digest = deployment.components.get(dependency.name, "") if is_component else ""
    return GraphEdge(name=dependency.name, kind=dependency.kind, hash=digest)


def _conflicts(winner: _Weighed, snapshot: Snapshot) -> Iterator[Conflict]:
    context = winner.bound.binding.context
    if not context.release:
        return
    own = (context.virtual_environment, context.deployment, winner.route.place)
    for tie in ties(winner.route, snapshot):
        if (tie.virtual_environment, tie.deployment, tie.path) != own:
            yield tie


def _wins(each: _Weighed, decision: Decision | FoxError) -> bool:
    if isinstance(decision, FoxError):
        return False
    target = decision.target
    is_ours = target.context is each.bound.binding.context
    return is_ours and (target.component, target.route) == (
        each.route.component,
        each.route.route.id,
    )
