"""A component version and the definition that its code declares."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import msgspec

from kubefox.declared_limits import (
    MAX_MEMORY_MIB,
    MAX_OPEN_FILES,
    MAX_PROCESSES,
    MIN_MEMORY_MIB,
    MIN_OPEN_FILES,
    MIN_PROCESSES,
)
from kubefox.digest import RuntimeSpec
from kubefox.formats import MAX_ENTRIES, Hash, Index, Name, Range, Size, checked
from kubefox.scaling import MAX_CONCURRENCY, Scale

SHORT_HASH_LENGTH = 12

_CHECKED_SIZE = checked(Size(max_entries=MAX_ENTRIES))

Value = str | int | float | bool | Annotated[list[str | int | float], _CHECKED_SIZE]


class DependencyKind(Enum):
    """The kind of a dependency."""

    COMPONENT = "component"
    ADAPTER = "adapter"


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of the app's graph.

    Attributes:
        name: Name of the component or kind of the adapter that may be called.
        kind: Whether ``name`` is a component or an adapter.
    """

    name: Name
    kind: DependencyKind = DependencyKind.COMPONENT


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that sends genesis events to this component.

    Attributes:
        id: Index of the route in its component, from 0; the pod finds the handler by it.
        rule: Text of the rule, with variables unresolved.
        priority: The higher one wins; between equal ones, the longer resolved rule wins.
        idempotent: Whether a request may be sent once more when its pod died before it answered;
            None decides by the method: see ``kubefox.http.is_idempotent``.
        timeout_s: Time limit of the handler in seconds; None leaves the deadline of the event.
        cancel_on_disconnect: Whether the handler is cancelled when nothing waits for its answer
            any more; None decides by the method: see ``kubefox.http.has_only_an_answer``.
        streams_body: Whether the handler reads the body while it arrives; None if that is not
            known, in the definitions of earlier versions of the platform.
    """

    id: Index
    rule: str
    priority: int = 0
    idempotent: bool | None = None
    timeout_s: float | None = None
    cancel_on_disconnect: bool | None = None
    streams_body: bool | None = None


class VariableType(Enum):
    """The type of a declared variable."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable that the component reads from its virtual environment.

    Attributes:
        name: Key in the environment's ``vars``.
        type: Type that the value must have; checked at release.
        default: Value if the environment has none; None makes the variable required.
        description: Text for people.
    """

    name: str
    type: VariableType = VariableType.STRING
    default: Value | None = None
    description: str = ""

    @property
    def is_required(self) -> bool:
        """Whether a missing value is a problem."""
        return self.default is None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A time table by which the cron adapter sends the component a genesis event.

    Attributes:
        id: Index of the schedule in its component, from 0; the pod finds the handler by it.
        cron: Five-field cron expression in UTC, or ``@every <seconds>s``.
        timeout_s: As in ``Route``.
    """

    id: Index
    cron: str
    timeout_s: float | None = None


class ComponentDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """The declarations in a component version's code; equal hashes have equal definitions.

    Attributes:
        name: Name of the component's folder.
        title: Title for people; the name if empty.
        description: Text for people.
        routes: Routes in order of their ids.
        dependencies: Components and adapters that it may call.
        variables: Variables that it reads from the environment.
        schedules: Schedules in order of their ids.
        has_default_handler: Whether it serves calls without a route.
        scale: Limits of replicas; None declares none.
        default_timeout_s: Time limit of the default handler, as in ``Route``.
        default_cancel_on_disconnect: Of the default handler, as in ``Route``.
        concurrency: Events of one deployment and virtual environment that a pod handles at once;
            None leaves it to the platform (``FOX_POD_CONCURRENCY``).
        memory_mib: Private memory of a pod, in MiB, if that is less than the platform's limit; None
            leaves it to the platform (``FOX_POD_MEMORY_MIB``).
        open_files: Open files of a pod, as ``memory_mib`` (``FOX_POD_OPEN_FILES``).
        processes: Processes and threads of a pod, as ``memory_mib`` (``FOX_POD_PROCESSES``).
    """

    name: Name
    title: str = ""
    description: str = ""
    routes: Annotated[tuple[Route, ...], _CHECKED_SIZE] = ()
    dependencies: Annotated[tuple[Dependency, ...], _CHECKED_SIZE] = ()
    variables: Annotated[tuple[Variable, ...], _CHECKED_SIZE] = ()
    schedules: Annotated[tuple[Schedule, ...], _CHECKED_SIZE] = ()
    has_default_handler: bool = False
    scale: Scale | None = None
    default_timeout_s: float | None = None
    default_cancel_on_disconnect: bool | None = None
    concurrency: Annotated[int, checked(Range(minimum=1, maximum=MAX_CONCURRENCY))] | None = None
    memory_mib: (
        Annotated[int, checked(Range(minimum=MIN_MEMORY_MIB, maximum=MAX_MEMORY_MIB))] | None
    ) = None
    open_files: (
        Annotated[int, checked(Range(minimum=MIN_OPEN_FILES, maximum=MAX_OPEN_FILES))] | None
    ) = None
    processes: (
        Annotated[int, checked(Range(minimum=MIN_PROCESSES, maximum=MAX_PROCESSES))] | None
    ) = None


class ExportedDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """The definition of a component whose code was loaded in a process of its own.

    Attributes:
        definition: The definition that the code declares.
        not_isolated: Why the process could use the network and the user's files; empty if it could
            not.
    """

    definition: ComponentDefinition
    not_isolated: str = ""


class ComponentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One component at one content hash, with its definition.

    Attributes:
        app: Name of the app.
        hash: 32 hex characters, see ``kubefox.digest``.
        definition: Declarations in the code that the hash covers.
        runtime: How the code is run.
    """

    app: Name
    hash: Hash
    definition: ComponentDefinition
    runtime: RuntimeSpec = RuntimeSpec()

    @property
    def name(self) -> str:
        """Name of the component."""
        return self.definition.name


def short(digest: str) -> str:
    """Return the short form of a hash, for people."""
    return digest[:SHORT_HASH_LENGTH]
