"""A route binding: a deployment's routes compiled with one environment's values."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from sys import intern

import msgspec

from kubefox import subjects
from kubefox.context import EventContext
from kubefox.deployment import HasComponents
from kubefox.selection import Access
from routing.language.template import Layers
from routing.memo import Memo
from routing.table.matcher import CompiledRoute
from routing.table.priority import Recency
from routing.table.rule_set import RuleSet

# Measured by ``tests/routing/snapshot/test_route_bindings.py``.
BINDING_BYTES = 1_100
"""Estimate of what a binding takes with its first target and the broker's data of that target."""
TARGET_BYTES = 700
"""Estimate of what each further target takes."""


class Target(msgspec.Struct, kw_only=True, eq=False):
    """The receiver of a decision's event. Made once for each binding and route.

    Attributes:
        memo: The broker's; see ``routing.memo``. None while it is empty.
        subject: NATS subject of the component version.
        route: Id of the route in the component.
        context: The same object for all targets of one binding.
        deployment: The components of the deployment at the context's revision.
        component: Name of the component.
        hash: Its full hash.
        idempotent: ``Route.idempotent`` of the route.
        streams_body: ``Route.streams_body`` of the route.
    """

    # Fields lie in memory in this order: those that every event reads come first.
    memo: Memo = None
    subject: str
    route: int
    context: EventContext
    deployment: HasComponents
    component: str
    hash: str
    idempotent: bool | None = None
    streams_body: bool | None = None


class RouteBinding:
    """A context and the routes that are matched in it.

    Args:
        context: The context of its events.
        deployment: The components of the deployment.
        rules: Rules of the deployment; kept, so that other bindings share its tables.
        layers: Variables, highest precedence first.
        sources: The records it is made of; it is valid while these objects are current.
        removals: ``Records.removals`` at the time, if component versions are looked up live.
        recency: ``ActiveRelease.recency``.
        needed_access: Access that a request needs to select it.

    Attributes:
        context: The context of its events.
        deployment: The components of the deployment.
        needed_access: Access that a request needs to select it.
        table: Compiled routes, perhaps shared with other bindings.
        tree: The table's; kept here because it saves every request a look-up.
        segment_values: The table's, for the same reason.
        recency: Recency of its active release.
        last_route: The route of the latest decision; a binding often serves only one.
        last_target: The target of ``last_route``.
        verified_for: ``Records.version`` of the records for which it was last found valid.
        size_bytes: Estimate of what it takes in memory.
        on_growth: Called with the bytes by which ``size_bytes`` has grown.
    """

    __slots__ = (
        "_removals",
        "_rules",
        "_sources",
        "_targets",
        "context",
        "deployment",
        "last_route",
        "last_target",
        "needed_access",
        "on_growth",
        "recency",
        "segment_values",
        "size_bytes",
        "table",
        "tree",
        "verified_for",
    )

    def __init__(
        self,
        context: EventContext,
        deployment: HasComponents,
        rules: RuleSet,
        layers: Layers,
        *,
        sources: tuple[object, ...],
        removals: int = 0,
        recency: Recency = (0, ""),
        needed_access: Access = Access.RELEASED,
    ) -> None:
        self.context = context
        self.needed_access = needed_access
        self.deployment = deployment
        self.table = table = rules.table(layers)
        self.tree, self.segment_values = table.tree, table.segment_values
        self.recency = recency
        self.verified_for: object = None
        self._rules = rules
        self._sources = sources
        self._removals = removals
        self._targets: dict[CompiledRoute, Target] | None = None
        self.last_route: CompiledRoute | None = None
        self.last_target: Target
        self.size_bytes = BINDING_BYTES + table.size_bytes
        self.on_growth: Callable[[int], None] | None = None

    def is_valid_for(self, sources: tuple[object, ...], removals: int = 0) -> bool:
        """Return whether it was made of these objects and no component was removed since then."""
        return self._removals == removals and all(map(is_, self._sources, sources))

    def target(self, route: CompiledRoute) -> Target:
        """Return the target of a route; the same object every time."""
        if route is self.last_route:
            return self.last_target
        first = self.last_route
        target = self._new_target(route) if first is None else self._further(route, first)
        self.last_route, self.last_target = route, target
        return target

    def _further(self, route: CompiledRoute, latest: CompiledRoute) -> Target:
        """Return the target of a further route; most bindings serve one, and need no table."""
        targets = self._targets
        if targets is None:
            targets = self._targets = {latest: self.last_target}
        target = targets.get(route)
        if target is None:
            target = targets[route] = self._new_target(route)
            self.size_bytes += TARGET_BYTES
            if self.on_growth is not None:
                self.on_growth(TARGET_BYTES)
        return target

    def _new_target(self, route: CompiledRoute) -> Target:
        digest = self.deployment.components[route.component]
        return Target(
            context=self.context,
            deployment=self.deployment,
            component=route.component,
            hash=digest,
            # Interned: most deployments have the same subject.
            subject=intern(subjects.component(self.deployment.app, route.component, digest)),
            route=route.route.id,
            idempotent=route.route.idempotent,
            streams_body=route.route.streams_body,
        )
