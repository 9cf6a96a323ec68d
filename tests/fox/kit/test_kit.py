"""The definition that a kit declares, and the choice of the handler of an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fox import Context, Kit
from kubefox.component import (
    ComponentDefinition,
    Dependency,
    DependencyKind,
    Route,
    Schedule,
    Variable,
    VariableType,
)
from kubefox.errors import InvalidRequest, RouteNotFound
from kubefox.event import NO_ROUTE, Event, EventType
from kubefox.scaling import Scale


async def handler(ctx: Context) -> None: ...


async def other_handler(ctx: Context) -> None: ...


def not_async(ctx: Context) -> Any: ...


def event(kind: str, number: int = NO_ROUTE) -> Event:
    return Event(
        id="1", genesis_id="1", type=kind, context="", source="", deadline_ms=0, handler=number
    )


def test_the_definition_contains_all_declarations() -> None:
    kit = Kit(
        title="Order UI",
        description="Shows orders.",
        concurrency=30,
        memory_mib=256,
        open_files=512,
        processes=128,
    )
    kit.component("api-server")
    kit.component("api-server")
    kit.state_store("orders")
    kit.state_store("reviews")
    kit.env("subPath", description="First segment.")
    kit.route("Path(`/a`)")(handler)
    kit.route("Path(`/b`)", priority=7, idempotent=True)(handler)
    kit.route("Path(`/c`)", streams_body=True)(other_handler)
    kit.schedule("@every 2s")(handler)
    kit.default(handler)
    kit.scale(min=2, max=5, target_in_flight=10)

    assert kit.definition("order-ui") == ComponentDefinition(
        name="order-ui",
        title="Order UI",
        description="Shows orders.",
        routes=(
            Route(id=0, rule="Path(`/a`)", streams_body=False),
            Route(id=1, rule="Path(`/b`)", priority=7, idempotent=True, streams_body=False),
            Route(id=2, rule="Path(`/c`)", streams_body=True),
        ),
        dependencies=(
            Dependency(name="api-server"),
            Dependency(name="state-store", kind=DependencyKind.ADAPTER),
        ),
        variables=(Variable(name="subPath", description="First segment."),),
        schedules=(Schedule(id=0, cron="@every 2s"),),
        has_default_handler=True,
        scale=Scale(min=2, max=5, target_in_flight=10),
        concurrency=30,
        memory_mib=256,
        open_files=512,
        processes=128,
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
        (lambda kit: kit.env("x", type=dict), "variable x cannot have type dict: use one of str"),
        (lambda kit: kit.env("x", default=b"1"), "variable x cannot have type bytes"),
        (lambda kit: (kit.default(handler), kit.default(handler)), "this is the second one"),
        (lambda kit: kit.route("All()")(not_async), "handler not_async is not async"),
        (lambda kit: kit.default(not_async), "declare it with async def"),
        (lambda kit: kit.schedule("* * * * *")(not_async), "declare it with async def"),
        (lambda kit: kit.scale(min=3, max=2), "min is 3: expected at most max, which is 2"),
        (lambda _: Kit(memory_mib=64), "memory_mib is 64: expected a number from 128 to 1048576"),
        (lambda _: Kit(open_files=9), "open_files is 9: expected a number from 64 to 1048576"),
        (lambda _: Kit(processes=0), "processes is 0: expected a number from 64 to 1048576"),
        (lambda _: Kit(concurrency=0), "concurrency is 0: expected a number from 1 to 100000"),
        (lambda kit: (kit.component("state-store"), kit.state_store("a")), "both a component"),
    ],
)
def test_an_invalid_declaration_is_refused(declare: Callable[[Kit], object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        declare(Kit())


def test_the_handler_of_an_event_is_found_by_its_type_and_number() -> None:
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
def test_an_event_without_a_handler_is_refused(wanted: Event) -> None:
    kit = Kit()
    kit.route("Path(`/`)")(handler)

    with pytest.raises(RouteNotFound, match=f"no handler for {wanted.type} event 1"):
        kit.handler_of(wanted)
