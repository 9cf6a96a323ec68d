"""A component version and what its code declares about itself."""

from __future__ import annotations

from enum import Enum

import msgspec

from model.digest import RuntimeSpec

SHORT_HASH_LENGTH = 12

Value = str | int | float | bool | list[str | int | float]


class DependencyKind(Enum):
    """Who stands at the other end of a declared edge."""

    COMPONENT = "component"
    ADAPTER = "adapter"


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of the app's graph: this component may call ``name``."""

    name: str
    kind: DependencyKind = DependencyKind.COMPONENT


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that sends genesis events to this component.

    Attributes:
        id: Index of the route in its component, from 0; what the pod dispatches on.
        rule: Text of the rule, with ``{{.Vars.x}}`` unresolved.
        priority: Higher wins; 0 leaves it to the length of the resolved rule.
    """

    id: int
    rule: str
    priority: int = 0


class VariableType(Enum):
    """What a declared variable accepts."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable that the component reads from its virtual environment.

    Attributes:
        name: Key in the environment's ``vars``.
        type: What it must be; checked at release.
        default: Value when the environment has none; None makes the variable required.
        description: For people.
    """

    name: str
    type: VariableType = VariableType.STRING
    default: Value | None = None
    description: str = ""

    @property
    def is_required(self) -> bool:
        """Whether an environment without it is a problem."""
        return self.default is None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When the cron adapter sends this component a genesis event.

    Attributes:
        id: Index of the schedule in its component, from 0; what the pod dispatches on.
        cron: Five-field cron expression in UTC, or ``@every <seconds>s``.
    """

    id: int
    cron: str


class ComponentDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What the code of one component version declares; equal hashes have equal definitions.

    Attributes:
        name: The folder's name.
        title: For people; empty means use the name.
        description: For people.
        routes: In order of their ids.
        dependencies: Edges to components and adapters.
        variables: What it reads from the environment.
        schedules: In order of their ids.
        has_default_handler: Whether it serves calls that come without a route.
    """

    name: str
    title: str = ""
    description: str = ""
    routes: tuple[Route, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    variables: tuple[Variable, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    has_default_handler: bool = False


class ComponentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One component at one content hash, with what its code declares.

    Attributes:
        app: Name of the app.
        hash: 32 hex characters, see ``model.digest``.
        definition: Exported from the code that the hash covers.
        runtime: How that code is run.
    """

    app: str
    hash: str
    definition: ComponentDefinition
    runtime: RuntimeSpec = RuntimeSpec()

    @property
    def name(self) -> str:
        """Name of the component."""
        return self.definition.name


def short(digest: str) -> str:
    """Return the part of a hash that is shown to people."""
    return digest[:SHORT_HASH_LENGTH]
