"""The explanation of a decision, as ``routing.explain`` makes it; it can be encoded as JSON."""

from __future__ import annotations

import msgspec

from kubefox.component import DependencyKind
from kubefox.errors import Problem
from kubefox.selection import Selection
from routing.conflicts import RouteConflict
from routing.selectors import Selectors


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A route that could have got the request.

    Attributes:
        virtual_environment: The virtual environment whose values its rule has.
        release: Id of its release, or empty.
        deployment: Name of the deployment.
        component: Name of the component.
        hash: Full hash of the component.
        route: Id of the route in the component.
        rule: The rule as written.
        resolved: The rule with its values; a list is shown as ``[a, b]``.
        priority: Explicit priority.
        length: Length of the resolved rule.
        refused_by: The predicate that refused; or, for a route that cannot be used and is not
            resolved, the reason; empty if the route accepts.
        params: The captured parameters, if the route accepts.
        wins: Whether the route gets the request.
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
    """A dependency of a component version.

    Attributes:
        name: Name of the component, or kind of the adapter.
        kind: Whether it is a component or an adapter.
        hash: Full content hash; empty for an adapter or a missing component.
    """

    name: str
    kind: DependencyKind
    hash: str = ""


class GraphNode(msgspec.Struct, frozen=True, kw_only=True):
    """A component version of the deployment.

    Attributes:
        component: Name of the component.
        hash: Full content hash.
        dependencies: The components and adapters that it may call.
    """

    component: str
    hash: str
    dependencies: tuple[GraphEdge, ...] = ()


class ClientError(msgspec.Struct, frozen=True, kw_only=True):
    """The error that the client gets.

    Attributes:
        code: Code of the error, see ``kubefox.errors``.
        detail: Text of the error.
    """

    code: str
    detail: str


class ExplainedShare(msgspec.Struct, frozen=True, kw_only=True):
    """The share whose token a request has.

    Attributes:
        name: Its id; empty if the token is not valid.
        deployment: Name of the deployment that it allows to select.
        virtual_environment: Name of the virtual environment in which.
        host: The only host name for which it is valid; empty for every host.
        expires_at_s: Unix time at which it ends.
        fault: Why this request cannot use it; empty if it can.
        effect: What else the answer does, because the URL has the token; empty if nothing.
    """

    name: str = ""
    deployment: str = ""
    virtual_environment: str = ""
    host: str = ""
    expires_at_s: int = 0
    fault: str = ""
    effect: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The decision and its reasons.

    Attributes:
        selectors: The selectors and where they were found.
        candidates: The routes in the order in which they would win, then the routes that cannot be
            used; at most ``routing.explain.MAX_CANDIDATES``.
        omitted: How many candidates are left out.
        winner: The candidate that gets the request, None with an error.
        graph: Component versions of the winner's deployment, by name.
        problems: Problems of the candidates' environments; for a plain URL, of all active releases,
            because each of them could have had the route. With a winner, also the variables of its
            deployment that have no value, or one of another type.
        conflicts: Active routes of other deployments that tie with the winner.
        error: The error that the client gets, or None.
        status: HTTP status of the error, 0 without an error.
        selection: Policy of selection of the virtual environment that the request selects; None
            without one. What is not released needs it, and a listener may be stricter.
        share: The share of the request; None without one, and in an answer of the HTTP adapter.
    """

    selectors: Selectors
    candidates: tuple[Candidate, ...] = ()
    omitted: int = 0
    winner: Candidate | None = None
    graph: tuple[GraphNode, ...] = ()
    problems: tuple[Problem, ...] = ()
    conflicts: tuple[RouteConflict, ...] = ()
    error: ClientError | None = None
    status: int = 0
    selection: Selection | None = None
    share: ExplainedShare | None = None
