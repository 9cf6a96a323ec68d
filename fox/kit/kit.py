"""The kit: a component declares its routes, schedules, dependencies and variables with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import overload

import msgspec

from fox.kit.client import ComponentClient
from fox.kit.context import Context
from fox.kit.handler_options import DEFAULT_HANDLER, HandlerKey, HandlerOptions
from fox.kit.response import Content, Response
from fox.kit.state_store import StateStore
from fox.kit.variable_types import variable_type
from kubefox.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Value,
    Variable,
)
from kubefox.declared_limits import DeclaredLimits
from kubefox.errors import InvalidRequest, RouteNotFound
from kubefox.event import NO_ROUTE, Event, EventType
from kubefox.http import has_only_an_answer
from kubefox.names import check_name
from kubefox.scaling import Scale, concurrency_fault, fault_of
from kubefox.state_store import STATE_STORE

Handler = Callable[[Context], Awaitable[Response | Content]]
"""A handler: an async function of a Context that returns a Response, or the content of one."""


class Kit:
    """The declaration of one component.

    The module ``main.py`` of a component holds its kit under the name ``kit``. ``fox deploy``
    reads the declaration, and pods serve the handlers. A handler is an async function; it gets a
    ``Context`` and returns a ``Response``, or text, bytes, a dict, a list or None.

    Args:
        title: Title of the component, for people.
        description: Description of the component, for people.
        concurrency: Events of one deployment and virtual environment that a pod of the component
            handles at once, from 1 to 100,000; further ones wait. None leaves it to the platform
            (``FOX_POD_CONCURRENCY``).
        memory_mib: Private memory of a pod, and of each process that it starts, in MiB, from 128;
            what takes more fails with ``MemoryError``. It lowers the platform's limit
            (``FOX_POD_MEMORY_MIB``) and does not raise it.
        open_files: Open files of a pod, and of each process that it starts, from 64; as
            ``memory_mib`` (``FOX_POD_OPEN_FILES``).
        processes: Processes and threads of a pod, where they can be counted, from 64; as
            ``memory_mib`` (``FOX_POD_PROCESSES``).

    Raises:
        InvalidRequest: The concurrency or a limit is out of range.

    Example:
        >>> from fox import Context, Kit
        >>> kit = Kit(title="Order UI")
        >>> api = kit.component("api-server")
        >>> kit.env("subPath", default="live")
        >>> @kit.route("Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`GET`)")
        ... async def order(ctx: Context) -> Response:
        ...     return await api.get(f"/orders/{ctx.params['id']}", ctx=ctx)
    """

    def __init__(
        self,
        *,
        title: str = "",
        description: str = "",
        concurrency: int | None = None,
        memory_mib: int | None = None,
        open_files: int | None = None,
        processes: int | None = None,
    ) -> None:
        limits = DeclaredLimits(memory_mib=memory_mib, open_files=open_files, processes=processes)
        if fault := concurrency_fault(concurrency) or limits.fault:
            raise InvalidRequest(f"the declaration of the component is not valid: {fault}")
        self._concurrency = concurrency
        self._limits = limits
        self._title = title
        self._description = description
        self._routes: list[tuple[Route, Handler]] = []
        self._schedules: list[tuple[Schedule, Handler]] = []
        self._default: Handler | None = None
        self._options = HandlerOptions()
        self._dependencies: dict[str, Dependency] = {}
        self._variables: dict[str, Variable] = {}
        self._scale: Scale | None = None

    def route(
        self,
        rule: str,
        *,
        priority: int = 0,
        streams_body: bool = False,
        idempotent: bool | None = None,
        timeout_s: float | None = None,
        cancel_on_disconnect: bool | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare, as a decorator, a handler for requests from outside that match ``rule``.

        Args:
            rule: Rule over host, path, method, headers and query, such as
                ``Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`GET`)``.
            priority: The route with the higher priority wins. Among equal priorities, the longer
                rule wins.
            streams_body: True if the handler reads the body by ``ctx.stream()``; the body may have
                any length then. Otherwise ``ctx.body`` holds the whole body, of at most 5 MiB
                (``FOX_BODY_LIMIT_BYTES``).
            idempotent: Whether a request may be sent to another pod when its pod died before it
                answered: the handler may run twice then. None decides by the method: GET, HEAD,
                OPTIONS, PUT and DELETE may be sent again.
            timeout_s: Time limit in seconds, from the begin of the handler until its response
                begins; then the handler is cancelled, and the sender gets 504. The time to live of
                the event (``FOX_EVENT_TTL_S``) applies too.
            cancel_on_disconnect: Whether the handler is cancelled when its client has gone. None
                decides by the method: GET and HEAD are cancelled, others run on.

        Raises:
            InvalidRequest: The handler is not an async function, or the time limit is not above 0.
        """

        def declare(handler: Handler) -> Handler:
            route = Route(
                id=len(self._routes),
                rule=rule,
                priority=priority,
                idempotent=idempotent,
                timeout_s=timeout_s,
                cancel_on_disconnect=cancel_on_disconnect,
            )
            self._add_route(route, handler, streams_body=streams_body)
            return handler

        return declare

    @overload
    def default(self, handler: Handler) -> Handler: ...

    @overload
    def default(
        self,
        *,
        streams_body: bool = False,
        timeout_s: float | None = None,
        cancel_on_disconnect: bool | None = None,
    ) -> Callable[[Handler], Handler]: ...

    def default(
        self,
        handler: Handler | None = None,
        *,
        streams_body: bool = False,
        timeout_s: float | None = None,
        cancel_on_disconnect: bool | None = None,
    ) -> Handler | Callable[[Handler], Handler]:
        """Declare, as a decorator, the handler for events from other components.

        It is used as ``@kit.default`` or ``@kit.default(streams_body=True)``. A component has at
        most one default handler; it also handles emitted events.

        Args:
            handler: The decorated function; None if there are arguments.
            streams_body: See ``route``.
            timeout_s: See ``route``. For emitted events it replaces ``FOX_EVENT_TTL_S``, and may
                be longer.
            cancel_on_disconnect: See ``route``. Emitted events are never cancelled by it.

        Raises:
            InvalidRequest: There is a default handler already, this is not an async function, or
                the time limit is not above 0.
        """

        def declare(handler: Handler) -> Handler:
            if self._default is not None:
                raise InvalidRequest("a component has one default handler: this is the second one")
            self._options.declare(
                DEFAULT_HANDLER,
                handler,
                timeout_s=timeout_s,
                cancels=cancel_on_disconnect,
                streams=streams_body,
            )
            self._default = handler
            return handler

        return declare if handler is None else declare(handler)

    def scale(
        self,
        *,
        min: int | None = None,  # noqa: A002 - the words of the YAML files and of `fox scale`
        max: int | None = None,  # noqa: A002
        target_in_flight: float | None = None,
    ) -> None:
        """Declare how many replicas of the component run; `fox scale` can override it.

        Args:
            min: Number of replicas that always run. 0 lets an unused component be stopped after
                ``FOX_POD_IDLE_S``. None is the platform's default.
            max: Largest number of replicas. Above ``min``, the number follows the load. None is
                the platform's default.
            target_in_flight: Events in flight for which one replica is enough. None is the
                platform's default.

        Raises:
            InvalidRequest: A limit is out of range, or ``min`` is above ``max``.
        """
        scale = Scale(min=min, max=max, target_in_flight=target_in_flight)
        if fault := fault_of(scale):
            raise InvalidRequest(f"the scale of the component is not valid: {fault}")
        self._scale = scale

    def schedule(
        self, cron: str, *, timeout_s: float | None = None
    ) -> Callable[[Handler], Handler]:
        """Declare, as a decorator, a handler that runs on a schedule.

        Each time it runs once for each virtual environment in which the component is released.

        Args:
            cron: Cron expression of five fields, in UTC, such as ``*/5 * * * *``; or
                ``@every <seconds>s``.
            timeout_s: See ``route``.

        Raises:
            InvalidRequest: The handler is not an async function, or the time limit is not above 0.
        """

        def declare(handler: Handler) -> Handler:
            schedule = Schedule(id=len(self._schedules), cron=cron, timeout_s=timeout_s)
            key = HandlerKey(is_scheduled=True, number=schedule.id)
            self._options.declare(key, handler, timeout_s=timeout_s)
            self._schedules.append((schedule, handler))
            return handler

        return declare

    def component(self, name: str) -> ComponentClient:
        """Declare that this component calls another one of the app.

        Args:
            name: Name of the other component: the name of its folder.

        Returns:
            A client of that component, for use in handlers.

        Raises:
            InvalidRequest: ``name`` is not a valid name, or is declared as an adapter.
        """
        self._add_dependency(check_name(name, "component"), DependencyKind.COMPONENT)
        return ComponentClient(name)

    def state_store(self, name: str) -> StateStore:
        """Declare that this component stores data.

        Args:
            name: Name of the store. Stores of other apps and of other virtual environments with
                this name are separate.

        Returns:
            A client of the store, for use in handlers.

        Raises:
            InvalidRequest: ``name`` is not a valid name.
        """
        self._add_dependency(STATE_STORE, DependencyKind.ADAPTER)
        return StateStore(check_name(name, "state store"))

    def env(
        self,
        name: str,
        *,
        type: type | None = None,  # noqa: A002 - users write type=int
        default: Value | None = None,
        description: str = "",
    ) -> Variable:
        """Declare a variable of the virtual environment; handlers read it as ``ctx.env[name]``.

        Args:
            name: Name of the variable.
            type: ``str``, ``float``, ``int``, ``bool`` or ``list``. Without it, the type of
                ``default`` applies, or ``str``.
            default: Value if the environment has none. A variable without a default is required.
            description: Description of the variable, for people.

        Returns:
            The declaration.

        Raises:
            InvalidRequest: A variable cannot have this type.
        """
        kind = type or (str if default is None else default.__class__)
        variable = Variable(
            name=name, type=variable_type(name, kind), default=default, description=description
        )
        self._variables[name] = variable
        return variable

    def definition(self, name: str) -> ComponentDefinition:
        """Return the declaration of the component called ``name``; for the runtime."""
        return ComponentDefinition(
            name=name,
            title=self._title,
            description=self._description,
            routes=tuple(
                msgspec.structs.replace(route, streams_body=self.streams_body(handler))
                for route, handler in self._routes
            ),
            dependencies=tuple(self._dependencies.values()),
            variables=tuple(self._variables.values()),
            schedules=tuple(schedule for schedule, _ in self._schedules),
            has_default_handler=self._default is not None,
            scale=self._scale,
            concurrency=self._concurrency,
            memory_mib=self._limits.memory_mib,
            open_files=self._limits.open_files,
            processes=self._limits.processes,
            default_timeout_s=self._options.time_limit_s(DEFAULT_HANDLER),
            default_cancel_on_disconnect=self._options.cancels(DEFAULT_HANDLER),
        )

    def handler_of(self, event: Event) -> Handler:
        """Return the handler of an event; for the runtime.

        Raises:
            RouteNotFound: The component has no such handler.
        """
        if event.type == EventType.CRON:
            if 0 <= event.handler < len(self._schedules):
                return self._schedules[event.handler][1]
        elif event.handler == NO_ROUTE:
            if self._default is not None:
                return self._default
        elif 0 <= event.handler < len(self._routes):
            return self._routes[event.handler][1]
        raise RouteNotFound(
            f"the component has no handler for {event.type} event {event.id} "
            f"({event.method} {event.path})"
        )

    @property
    def concurrency(self) -> int | None:
        """The declared concurrency; for the runtime."""
        return self._concurrency

    @property
    def declared_limits(self) -> DeclaredLimits:
        """The declared limits of a pod; for the runtime."""
        return self._limits

    @property
    def has_time_limits(self) -> bool:
        """Whether any handler has a time limit of its own; for the runtime."""
        return self._options.has_time_limits

    def time_limit_s(self, event: Event) -> float | None:
        """Return the time limit of an event's handler, None without one; for the runtime."""
        is_scheduled = event.type == EventType.CRON
        key = HandlerKey(is_scheduled=is_scheduled, number=event.handler)
        return self._options.time_limit_s(key)

    def cancels_on_disconnect(self, event: Event) -> bool:
        """Return whether a handler ends when nothing waits for its answer; for the runtime."""
        if event.delivery is not None or event.type == EventType.CRON:
            return False
        cancels = self._options.cancels(HandlerKey(is_scheduled=False, number=event.handler))
        return has_only_an_answer(event.method) if cancels is None else cancels

    def streams_body(self, handler: Handler) -> bool:
        """Return whether a handler reads the body as a stream; for the runtime."""
        return self._options.streams_body(handler)

    def _add_route(self, route: Route, handler: Handler, *, streams_body: bool) -> None:
        self._options.declare(
            HandlerKey(is_scheduled=False, number=route.id),
            handler,
            timeout_s=route.timeout_s,
            cancels=route.cancel_on_disconnect,
            streams=streams_body,
        )
        self._routes.append((route, handler))

    def _add_dependency(self, name: str, kind: DependencyKind) -> None:
        dependency = Dependency(name=name, kind=kind)
        if self._dependencies.setdefault(name, dependency) != dependency:
            raise InvalidRequest(f"{name} cannot be both a component and an adapter")
