"""Events made by hand and put on the wire: a pod itself refuses what is not meant for it."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from broker import bus as buses
from broker.store import open_store
from fox.data_dir import read_info
from model import codec, subjects
from model.context import seal, source_name
from model.event import Event, EventType, Response
from routing.request import GenesisRequest
from routing.resolver import resolve
from routing.selectors import Selectors
from tests.e2e.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

TTL_S = 10
_numbers = itertools.count(1)


async def hashes(world: World, deployment: str) -> dict[str, str]:
    """Return the full hash of each component of a deployment."""
    deployments = await world.platform.get("deployments")
    found: dict[str, str] = next(
        each["components"] for each in deployments if each["name"] == deployment
    )
    return found


async def send(
    world: World, to: tuple[str, str], *, source: str, context: str, key: bytes | None = None
) -> Response:
    """Return the answer to an event that no broker and no kit has made.

    Args:
        world: Whose NATS it goes to.
        to: Component and hash.
        source: Who it says that it comes from.
        context: Name of the deployment that its genesis event would have.
        key: What its context is sealed with; None takes the platform's own key.
    """
    info = await asyncio.to_thread(read_info, world.platform.data_dir)
    assert info is not None
    name = f"intruder-{next(_numbers)}"
    async with buses.connect(info.nats_url, process_id=name) as bus, open_store(bus) as store:
        request = GenesisRequest(path="/dev/order-app")
        selectors = Selectors(deployment=context, virtual_environment="team-a")
        decision = resolve(request, selectors, store.snapshot)
        event = Event(
            id=name,
            genesis_id=name,
            type=EventType.COMPONENT,
            context=seal(decision.target.context, key or await store.platform_key()),
            source=source,
            deadline_ms=int((time.time() + TTL_S) * 1000),
            path="/orders",
        )
        subject = subjects.component("order-app", *to)
        response, _ = codec.decode_response(await bus.request(subject, codec.encode(event), TTL_S))
    return response


def code(response: Response) -> str:
    """Return the error's code, or nothing for an answer."""
    return response.error.code if response.error else ""


async def test_a_caller_of_the_deployment_that_declares_the_callee_is_answered(
    world: World,
) -> None:
    v2 = await hashes(world, "order-app-v2")
    source = source_name("order-ui", v2["order-ui"])

    response = await send(
        world, ("api-server", v2["api-server"]), source=source, context="order-app-v2"
    )

    assert (response.status, code(response)) == (200, "")


async def test_a_component_outside_the_deployment_does_not_serve_its_events(world: World) -> None:
    v1, v2 = await hashes(world, "order-app-v1"), await hashes(world, "order-app-v2")
    source = source_name("order-ui", v2["order-ui"])

    response = await send(
        world, ("api-server", v1["api-server"]), source=source, context="order-app-v2"
    )

    assert code(response) == "component_mismatch"


async def test_a_caller_outside_the_deployment_is_refused(world: World) -> None:
    v1, v3 = await hashes(world, "order-app-v1"), await hashes(world, "order-app-v3")
    source = source_name("order-ui", v3["order-ui"])

    response = await send(
        world, ("api-server", v1["api-server"]), source=source, context="order-app-v1"
    )

    assert code(response) == "not_declared"


async def test_a_caller_that_does_not_declare_the_callee_is_refused(world: World) -> None:
    v3 = await hashes(world, "order-app-v3")
    source = source_name("review", v3["review"])

    response = await send(
        world, ("api-server", v3["api-server"]), source=source, context="order-app-v3"
    )

    assert code(response) == "not_declared"


async def test_a_context_that_the_platform_did_not_seal_is_refused(world: World) -> None:
    v1 = await hashes(world, "order-app-v1")
    source = source_name("order-ui", v1["order-ui"])

    response = await send(
        world,
        ("api-server", v1["api-server"]),
        source=source,
        context="order-app-v1",
        key=b"guessed",
    )

    assert code(response) == "invalid_event"
