"""A deployment bound to one environment's values: what a decision is read from.

Bindings are made when first asked for and kept while they are used. A binding remembers the record
entries it was made of; it is right for every snapshot that holds the very same ones, so the
cache may be shared by all snapshots of one line, old ones included.
"""

from __future__ import annotations

from collections import deque
from operator import is_
from sys import intern
from typing import Any

import msgspec

from model import subjects
from model.context import EventContext
from model.deployment import Deployment
from model.environment import Environment, VirtualEnvironment
from model.errors import DeploymentNotFound, EnvironmentNotFound, Unavailable
from routing.active import ActiveRelease, Released, definitions_of
from routing.matcher import CompiledRoute
from routing.plain import PlainIndex
from routing.recent import Recent
from routing.records import Entry, Records
from routing.ruleset import RuleSet, rule_set
from routing.template import Layers

# A binding takes 0.8 KB, or 8 to 11 KB with a table of ten routes that cannot be shared
# (``benchmarks/routing``), so either cache stays under 100 MB whatever the rules.
GENERATION = 4_096


class Target(msgspec.Struct, kw_only=True, eq=False):
    """Where a decision sends its event. Made once per binding and route.

    Attributes:
        lane: What a broker keeps here of its own; None is nothing yet.
        subject: NATS subject of the component version.
        route: Id of the route in the component.
        context: The same object for all targets of one binding.
        deployment: The deployment at the context's revision.
        component: Name of the component.
        hash: Its full hash.
    """

    # In this order they lie in memory: what every event asks for comes first.
    lane: Any = None
    subject: str
    route: int
    context: EventContext
    deployment: Deployment
    component: str
    hash: str


class Binding:
    """A context and the routes that are matched in it.

    Attributes:
        context: What its events carry.
        deployment: The deployment.
        table: Compiled routes, perhaps shared with other bindings.
        tree: Of the table, and so are the words: a look less for every request.
        words: See there.
        recency: Of the active release it is of.
        usual_route: The one that was asked for last; with many deployments, often the only one.
        usual_target: Where it leads.
        verified: The moment of the records that it was last found right for.
    """

    __slots__ = (
        "_made_of",
        "_removals",
        "_rules",
        "_targets",
        "context",
        "deployment",
        "recency",
        "table",
        "tree",
        "usual_route",
        "usual_target",
        "verified",
        "words",
    )

    def __init__(
        self,
        context: EventContext,
        deployment: Deployment,
        rules: RuleSet,
        layers: Layers,
        *,
        made_of: tuple[object, ...],
        removals: int = 0,
        recency: tuple[float, str] = (0, ""),
    ) -> None:
        """Make a binding.

        Args:
            context: What its events carry.
            deployment: The deployment.
            rules: Of its components; held, so that other bindings find the table there.
            layers: Variables, highest precedence first.
            made_of: What the binding is right for, as long as they are these very objects.
            removals: ``Records.removals`` at the time, if components are looked up live.
            recency: ``ActiveRelease.recency``.
        """
        self.context = context
        self.deployment = deployment
        self.table = table = rules.table(layers)
        self.tree, self.words = table.tree, table.words
        self.recency = recency
        self.verified: object = None
        self._rules = rules
        self._made_of = made_of
        self._removals = removals
        self._targets: dict[CompiledRoute, Target] = {}
        self.usual_route: CompiledRoute | None = None
        self.usual_target: Target

    def is_right(self, parts: tuple[object, ...], removals: int = 0) -> bool:
        """Return whether it was made of these very objects and no component is gone since."""
        return self._removals == removals and all(map(is_, self._made_of, parts))

    def target(self, route: CompiledRoute) -> Target:
        """Return where events of a route go; the same object every time."""
        if route is self.usual_route:
            return self.usual_target
        target = self._targets.get(route)
        if target is None:
            target = self._targets[route] = self._new_target(route)
        self.usual_route, self.usual_target = route, target
        return target

    def _new_target(self, route: CompiledRoute) -> Target:
        digest = self.deployment.components[route.component]
        return Target(
            context=self.context,
            deployment=self.deployment,
            component=route.component,
            hash=digest,
            # Most deployments share it, and then it is one object.
            subject=intern(subjects.component(self.deployment.app, route.component, digest)),
            route=route.route.id,
        )


class Bindings:
    """Bindings that were made or asked for lately, for one line of snapshots."""

    __slots__ = ("_explicit", "_max_released", "_released")

    def __init__(self, generation: int = GENERATION) -> None:
        """Begin empty.

        Args:
            generation: How many of each kind are surely kept, and half of how many at most.
        """
        self._explicit: Recent[tuple[str, str], Binding] = Recent(generation)
        self._released: deque[Released] = deque()
        self._max_released = 2 * generation

    def explicit(
        self, deployment: str, virtual: str, records: Records, known: Binding | None = None
    ) -> Binding:
        """Return a deployment bound to the live values of a virtual environment.

        Args:
            deployment: Its name.
            virtual: Its name.
            records: To be right for.
            known: What was returned for these names before, perhaps for other records.

        Raises:
            DeploymentNotFound: No deployment has the name.
            EnvironmentNotFound: No virtual environment has the name.
            Unavailable: A record that one of them needs is not there.
        """
        names = (deployment, virtual)
        binding = self._explicit.get(names)
        if binding is None and known is not None:
            # Whoever remembers it has used it without asking here.
            binding = known
            self._explicit.put(names, known)
        if binding is not None and binding.verified is records.moment:
            return binding
        entries = _entries(deployment, virtual, records)
        if binding is None or not binding.is_right(entries, records.removals):
            binding = _live(*entries, records)
            self._explicit.put(names, binding)
        binding.verified = records.moment
        return binding

    def released(self, released: Released, plain: PlainIndex, records: Records) -> Binding:
        """Return an app of an active release bound to that release's values.

        Args:
            released: Which; it keeps the binding.
            plain: Holds the active release.
            records: Of the same snapshot.
        """
        binding: Binding | None = released.binding
        if binding is not None and binding.verified is records.moment:
            return binding
        active = plain.active[released.virtual_environment]
        environment = active.live_environment(records)
        if binding is None or not binding.is_right((active, environment)):
            if binding is None:
                self._make_room()
                self._released.append(released)
            binding = released.binding = _of_release(released.app, active, environment)
        binding.verified = records.moment
        return binding

    def _make_room(self) -> None:
        """Let go of the binding that was made first; who still uses it makes it again."""
        if len(self._released) >= self._max_released:
            self._released.popleft().binding = None


def virtual_environment(name: str, records: Records) -> Entry[VirtualEnvironment]:
    """Return a virtual environment's record.

    Raises:
        EnvironmentNotFound: There is none.
    """
    entry = records.virtual_environments.get(name)
    if entry is None:
        raise EnvironmentNotFound(f"no virtual environment is named {name!r}")
    return entry


Entries = tuple[Entry[Deployment], Entry[VirtualEnvironment], Entry[Environment]]


def _entries(deployment: str, virtual: str, records: Records) -> Entries:
    deployment_entry = records.deployments.get(deployment)
    if deployment_entry is None:
        raise DeploymentNotFound(f"no deployment is named {deployment!r}")
    virtual_entry = virtual_environment(virtual, records)
    environment = records.environments.get(virtual_entry.record.environment)
    if environment is None:
        raise _environment_missing(virtual_entry.record)
    return deployment_entry, virtual_entry, environment


def _live_context(
    deployment: Entry[Deployment],
    virtual: Entry[VirtualEnvironment],
    environment: Entry[Environment],
) -> EventContext:
    """Return the context of an explicit URL."""
    return EventContext(
        app=deployment.record.app,
        deployment=deployment.record.name,
        virtual_environment=virtual.record.name,
        deployment_revision=deployment.revision,
        virtual_environment_revision=virtual.revision,
        environment_revision=environment.revision,
    )


def _live(
    deployment: Entry[Deployment],
    virtual: Entry[VirtualEnvironment],
    environment: Entry[Environment],
    records: Records,
) -> Binding:
    definitions, missing = definitions_of(deployment.record, records)
    if missing:
        raise Unavailable(
            f"deployment {deployment.record.name} is not complete here: {missing[0]} is missing"
        )
    layers = (virtual.record.data.vars, environment.record.data.vars)
    return Binding(
        _live_context(deployment, virtual, environment),
        deployment.record,
        rule_set(definitions.values()),
        layers,
        made_of=(deployment, virtual, environment),
        removals=records.removals,
    )


def _of_release(app: str, active: ActiveRelease, environment: Entry[Environment] | None) -> Binding:
    found = active.apps[app]
    return Binding(
        active.context(app, environment.revision if environment else 0),
        found.deployment,
        found.rules,
        active.layers,
        made_of=(active, environment),
        recency=active.recency,
    )


def _environment_missing(virtual: VirtualEnvironment) -> Unavailable:
    return Unavailable(
        f"environment {virtual.environment} of virtual environment {virtual.name} is missing here"
    )
