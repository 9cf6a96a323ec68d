"""What a kit declares, and which handler serves an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fox import Context, Kit
from model.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Variable,
    VariableType,
)
from model.errors import InvalidRequest, RouteNotFound
from model.event import NO_ROUTE, Event, EventType


async def handler(ctx: Context) -> None: ...


def not_async(ctx: Context) -> Any: ...


def event(kind: str, number: int = NO_ROUTE) -> Event:
    return Event(
        id="1", genesis_id="1", type=kind, context="", source="", deadline_ms=0, handler=number
    )


def test_all_that_is_declared_is_in_the_definition() -> None:
    kit = Kit(title="Order UI", description="Shows orders.")
    kit.component("api-server")
    kit.component("api-server")
    kit.state_store("orders")
    kit.state_store("reviews")
    kit.env("subPath", description="First segment.")
    kit.route("Path(`/a`)")(handler)
    kit.route("Path(`/b`)", priority=7)(handler)
    kit.schedule("@every 2s")(handler)
    kit.default(handler)

    assert kit.definition("order-ui") == ComponentDefinition(
        name="order-ui",
        title="Order UI",
        description="Shows orders.",
        routes=(Route(id=0, rule="Path(`/a`)"), Route(id=1, rule="Path(`/b`)", priority=7)),
        dependencies=(
            Dependency(name="api-server"),
            Dependency(name="state-store", kind=DependencyKind.ADAPTER),
        ),
        variables=(Variable(name="subPath", description="First segment."),),
        schedules=(Schedule(id=0, cron="@every 2s"),),
        has_default_handler=True,
    )
    assert Kit().definition("x") == ComponentDefinition(name="x")


@pytest.mark.parametrize(
    ("kind", "default", "expected"),
    [
        (None, None, VariableType.STRING),
        (None, "a", VariableType.STRING),
        (None, 1, VariableType.NUMBER),
        (None, 0.5, VariableType.NUMBER),
        (None, False, VariableType.BOOLEAN),
        (None, ["a"], VariableType.LIST),
        (int, None, VariableType.NUMBER),
        (float, 1, VariableType.NUMBER),
        (bool, None, VariableType.BOOLEAN),
        (list, None, VariableType.LIST),
    ],
)
def test_a_variable_takes_its_type_from_its_default(
    kind: type | None, default: str | float | list[str | int | float] | None, expected: VariableType
) -> None:
    variable = Kit().env("x", type=kind, default=default)

    assert variable.type is expected
    assert variable.is_required == (default is None)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda kit: kit.component("Order UI"), "component name"),
        (lambda kit: kit.state_store("a.b"), "state store name"),
        (lambda kit: kit.env("x", type=dict), "variable x cannot be dict: use one of str"),
        (lambda kit: kit.env("x", default=b"1"), "variable x cannot be bytes"),
        (lambda kit: (kit.default(handler), kit.default(handler)), "this is a second one"),
        (lambda kit: kit.route("All()")(not_async), "handler not_async is no coroutine function"),
        (lambda kit: kit.default(not_async), "declare it with async def"),
        (lambda kit: kit.schedule("* * * * *")(not_async), "declare it with async def"),
        (lambda kit: (kit.component("state-store"), kit.state_store("a")), "both a component"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_is_written(
    declare: Callable[[Kit], object], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        declare(Kit())


def test_an_event_goes_to_the_handler_that_it_names() -> None:
    kit = Kit()

    @kit.route("Path(`/0`)")
    async def route_0(ctx: Context) -> None: ...

    @kit.default
    @kit.route("Path(`/1`)")
    async def route_1(ctx: Context) -> None: ...

    @kit.schedule("* * * * *")
    async def schedule_0(ctx: Context) -> None: ...

    assert kit.handler_of(event(EventType.HTTP, 0)) is route_0
    assert kit.handler_of(event(EventType.HTTP, 1)) is route_1
    assert kit.handler_of(event(EventType.CRON, 0)) is schedule_0
    assert kit.handler_of(event(EventType.COMPONENT)) is route_1


@pytest.mark.parametrize(
    "wanted",
    [
        event(EventType.HTTP, 1),
        event(EventType.HTTP, -2),
        event(EventType.HTTP),
        event(EventType.COMPONENT),
        event(EventType.CRON, 0),
        event(EventType.CRON),
    ],
)
def test_an_event_without_a_handler_is_told_so(wanted: Event) -> None:
    kit = Kit()
    kit.route("Path(`/`)")(handler)

    with pytest.raises(RouteNotFound, match=f"no handler for {wanted.type} event 1"):
        kit.handler_of(wanted)


def test_the_kits_names_are_imported_when_asked_for() -> None:
    import fox  # noqa: PLC0415 - it is what is tested

    assert fox.Kit is Kit
    with pytest.raises(AttributeError, match="nothing"):
        fox.nothing  # noqa: B018
