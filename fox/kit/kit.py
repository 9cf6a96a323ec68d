"""The kit: a component declares here what it serves and what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import overload

from fox.kit.client import ComponentClient
from fox.kit.context import Context
from fox.kit.response import Content, Response
from fox.kit.state_store import StateStore
from model.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Value,
    Variable,
    VariableType,
)
from model.errors import InvalidRequest, RouteNotFound
from model.event import NO_ROUTE, Event, EventType
from model.names import check_name
from model.state_store import STATE_STORE

Handler = Callable[[Context], Awaitable[Response | Content]]


class Kit:
    """One component: a module ``main.py`` holds one under the name ``kit``.

    Args:
        title: For people.
        description: For people.
    """

    def __init__(self, *, title: str = "", description: str = "") -> None:
        """Start with nothing declared."""
        self._title = title
        self._description = description
        self._routes: list[tuple[Route, Handler]] = []
        self._schedules: list[tuple[Schedule, Handler]] = []
        self._default: Handler | None = None
        self._streaming: set[Handler] = set()
        self._dependencies: dict[str, Dependency] = {}
        self._variables: dict[str, Variable] = {}

    def route(
        self, rule: str, *, priority: int = 0, streams_body: bool = False
    ) -> Callable[[Handler], Handler]:
        """Declare that the decorated handler serves genesis events that ``rule`` accepts.

        Args:
            rule: Such as ``Path(`/{{.Vars.subPath}}/orders/{id}`) && Method(`GET`)``.
            priority: Higher wins; 0 leaves it to the length of the rule.
            streams_body: Whether it reads the body by ``ctx.stream()``, of any length; otherwise
                ``ctx.body`` has it whole, within the limit.

        Raises:
            InvalidRequest: The handler is no ``async def``.
        """

        def declare(handler: Handler) -> Handler:
            _check_async(handler)
            route = Route(id=len(self._routes), rule=rule, priority=priority)
            self._routes.append((route, handler))
            self._note(handler, streams_body=streams_body)
            return handler

        return declare

    @overload
    def default(self, handler: Handler) -> Handler: ...

    @overload
    def default(self, *, streams_body: bool) -> Callable[[Handler], Handler]: ...

    def default(
        self, handler: Handler | None = None, *, streams_body: bool = False
    ) -> Handler | Callable[[Handler], Handler]:
        """Declare the handler of calls that come without a route: those of other components.

        Args:
            handler: The decorated one; None when there are arguments.
            streams_body: As in ``route``.

        Raises:
            InvalidRequest: There is one already, or this is no ``async def``.
        """

        def declare(handler: Handler) -> Handler:
            _check_async(handler)
            if self._default is not None:
                raise InvalidRequest("a component has one default handler, this is a second one")
            self._default = handler
            self._note(handler, streams_body=streams_body)
            return handler

        return declare if handler is None else declare(handler)

    def schedule(self, cron: str) -> Callable[[Handler], Handler]:
        """Declare that the decorated handler runs for each released environment at each tick.

        Args:
            cron: Five-field cron expression in UTC, or ``@every <seconds>s``.

        Raises:
            InvalidRequest: The handler is no ``async def``.
        """

        def declare(handler: Handler) -> Handler:
            _check_async(handler)
            self._schedules.append((Schedule(id=len(self._schedules), cron=cron), handler))
            return handler

        return declare

    def component(self, name: str) -> ComponentClient:
        """Declare that this component calls another one of the app, and return its client."""
        self._depend(check_name(name, "component"), DependencyKind.COMPONENT)
        return ComponentClient(name)

    def state_store(self, name: str) -> StateStore:
        """Declare the state store adapter, and return the store ``name`` of it."""
        self._depend(STATE_STORE, DependencyKind.ADAPTER)
        return StateStore(check_name(name, "state store"))

    def env(
        self,
        name: str,
        *,
        type: type | None = None,  # noqa: A002 - reads as what it is
        default: Value | None = None,
        description: str = "",
    ) -> Variable:
        """Declare a variable that handlers read as ``ctx.env[name]``.

        Args:
            name: Key in the environment's ``vars``.
            type: str, float, int, bool or list; taken from ``default`` when not given.
            default: Value when the environment has none; without one it is required.
            description: For people.

        Raises:
            InvalidRequest: Variables cannot have this type.
        """
        kind = type or (str if default is None else default.__class__)
        if kind not in _VARIABLE_TYPES:
            known = ", ".join(each.__name__ for each in _VARIABLE_TYPES)
            raise InvalidRequest(f"variable {name} cannot be {kind.__name__}: use one of {known}")
        variable = Variable(
            name=name, type=_VARIABLE_TYPES[kind], default=default, description=description
        )
        self._variables[name] = variable
        return variable

    def definition(self, name: str) -> ComponentDefinition:
        """Return all that was declared, for the component called ``name``."""
        return ComponentDefinition(
            name=name,
            title=self._title,
            description=self._description,
            routes=tuple(route for route, _ in self._routes),
            dependencies=tuple(self._dependencies.values()),
            variables=tuple(self._variables.values()),
            schedules=tuple(schedule for schedule, _ in self._schedules),
            has_default_handler=self._default is not None,
        )

    def handler_of(self, event: Event) -> Handler:
        """Return the handler that an event is meant for.

        Raises:
            RouteNotFound: There is no such handler.
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

    def streams_body(self, handler: Handler) -> bool:
        """Return whether a handler reads the body as it comes."""
        return handler in self._streaming

    def _note(self, handler: Handler, *, streams_body: bool) -> None:
        if streams_body:
            self._streaming.add(handler)

    def _depend(self, name: str, kind: DependencyKind) -> None:
        dependency = Dependency(name=name, kind=kind)
        if self._dependencies.setdefault(name, dependency) != dependency:
            raise InvalidRequest(f"{name} cannot be both a component and an adapter")


def _check_async(handler: Handler) -> None:
    # Other callables may return something to await: those of functools, methods, objects.
    if inspect.isfunction(handler) and not inspect.iscoroutinefunction(handler):
        name = handler.__name__
        raise InvalidRequest(f"handler {name} is no coroutine function: declare it with async def")


_VARIABLE_TYPES: dict[type, VariableType] = {
    str: VariableType.STRING,
    int: VariableType.NUMBER,
    float: VariableType.NUMBER,
    bool: VariableType.BOOLEAN,
    list: VariableType.LIST,
}
