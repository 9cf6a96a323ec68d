"""Forged events, sent without a broker: a pod itself refuses events of other deployments."""

from __future__ import annotations

import itertools
import time

import pytest

from broker.storage.store import open_store
from fox.data_dir import KEY_FILE
from fox.key_file import KeyFile
from kubefox import codec, subjects
from kubefox.context import seal, source_name
from kubefox.event import Event, EventType, ResponseHead
from routing.request import GenesisRequest
from routing.resolver import resolve
from routing.selectors import Selectors
from tests.e2e.order_app_platform import OrderAppPlatform
from tests.support.platform_nats import connect, read_platform_login
from tests.support.senders import sent_by

pytestmark = pytest.mark.asyncio(loop_scope="session")

TTL_S = 10
_numbers = itertools.count(1)


async def hashes(world: OrderAppPlatform, deployment: str) -> dict[str, str]:
    """Return the full hash of each component of a deployment."""
    deployments = await world.platform.get("deployments")
    found: dict[str, str] = next(
        listed["components"] for listed in deployments if listed["name"] == deployment
    )
    return found


async def send(
    world: OrderAppPlatform,
    to: tuple[str, str],
    *,
    source: str,
    context: str,
    key: bytes | None = None,
) -> ResponseHead:
    """Send a forged event, and return the answer.

    Args:
        world: The platform; the event is sent over its NATS.
        to: Component and hash of the receiver.
        source: Source that the event names.
        context: Name of the deployment in the event's context.
        key: Key that seals the context under the name of the platform's; None stands for that key.
    """
    name = f"intruder-{next(_numbers)}"
    login = await read_platform_login(world.platform.data_dir, name)
    keys = KeyFile(world.platform.data_dir / KEY_FILE, is_own=True)
    async with connect(login) as bus, open_store(bus, keys) as store:
        request = GenesisRequest(path="/dev/order-app")
        selectors = Selectors(deployment=context, virtual_environment="team-a")
        decision = resolve(request, selectors, store.snapshot)
        event = Event(
            id=name,
            genesis_id=name,
            type=EventType.COMPONENT,
            context=(
                seal(decision.target.context, store.keys.ring.sealing_key, key)
                if key
                else store.keys.seal(decision.target.context)
            ),
            source=source,
            deadline_ms=int((time.time() + TTL_S) * 1000),
            path="/orders",
        )
        subject = sent_by(source, subjects.component("order-app", *to))
        response, _ = codec.decode_response(await bus.request(subject, codec.encode(event), TTL_S))
    return response


def code(response: ResponseHead) -> str:
    """Return the code of the error, or an empty text for an answer."""
    return response.error.code if response.error else ""


async def test_a_caller_of_the_deployment_that_declares_the_callee_is_answered(
    world: OrderAppPlatform,
) -> None:
    v2 = await hashes(world, "order-app-v2")
    source = source_name("order-ui", v2["order-ui"])

    response = await send(
        world, ("api-server", v2["api-server"]), source=source, context="order-app-v2"
    )

    assert (response.status, code(response)) == (200, "")


async def test_a_component_outside_the_deployment_does_not_serve_its_events(
    world: OrderAppPlatform,
) -> None:
    v1, v2 = await hashes(world, "order-app-v1"), await hashes(world, "order-app-v2")
    source = source_name("order-ui", v2["order-ui"])

    response = await send(
        world, ("api-server", v1["api-server"]), source=source, context="order-app-v2"
    )

    assert code(response) == "component_mismatch"


async def test_a_caller_outside_the_deployment_is_refused(world: OrderAppPlatform) -> None:
    v1, v3 = await hashes(world, "order-app-v1"), await hashes(world, "order-app-v3")
    source = source_name("order-ui", v3["order-ui"])

    response = await send(
        world, ("api-server", v1["api-server"]), source=source, context="order-app-v1"
    )

    assert code(response) == "not_declared"


async def test_a_caller_that_does_not_declare_the_callee_is_refused(
    world: OrderAppPlatform,
) -> None:
    v3 = await hashes(world, "order-app-v3")
    source = source_name("review", v3["review"])

    response = await send(
        world, ("api-server", v3["api-server"]), source=source, context="order-app-v3"
    )

    assert code(response) == "not_declared"


async def test_a_context_that_the_platform_did_not_seal_is_refused(world: OrderAppPlatform) -> None:
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
