"""The time from the answer to a release until the release routes a request.

``fox serve control`` and two ``fox serve http`` run as separate processes. This process serves the
only pod, because one machine cannot run the pods of an estate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from time import perf_counter_ns

import aiohttp
import msgspec

from broker.nats.bus import Bus
from broker.storage.bundles import open_bundles
from broker.storage.pod_board import open_pod_board
from control.stored_record import StoredRecord
from kubefox import codec, subjects
from kubefox.component import ComponentDefinition, ComponentVersion, Route
from kubefox.deployment import Deployment
from kubefox.environment import Environment, VirtualEnvironment
from kubefox.event import ResponseHead
from kubefox.pod import PodPhase, PodStatus
from kubefox.release import ReleaseState

APP = "propagation"
DEPLOYMENTS = (f"{APP}-1", f"{APP}-2")
PATH = f"/{APP}/ping"
_HASH = "f" * 32
_COMPONENT = "web"


async def serve_pod(bus: Bus, stack: AsyncExitStack) -> None:
    """Serve the only pod until the stack is unwound."""
    board = await stack.enter_async_context(open_pod_board(bus))
    await (await open_bundles(bus)).put(_HASH, b"code")
    answer = codec.encode(ResponseHead(status=200), b"pong")

    async def serve(_frame: bytes, reply: str) -> None:
        await bus.publish(reply, answer)

    subject = subjects.component(APP, _COMPONENT, _HASH)
    await bus.serve(subjects.requests_to(subject), serve, subjects.PODS_QUEUE)
    status = PodStatus(id="web-1", app=APP, component=_COMPONENT, hash=_HASH, phase=PodPhase.READY)
    await board.publish(status)


async def deploy(session: aiohttp.ClientSession) -> None:
    """Create the environment and both deployments of the app."""
    definition = ComponentDefinition(name=_COMPONENT, routes=(Route(id=0, rule=f"Path(`{PATH}`)"),))
    version = ComponentVersion(app=APP, hash=_HASH, definition=definition)
    await _send(session, "PUT", f"/v1/environments/{APP}", Environment(name=APP))
    virtual = VirtualEnvironment(name=APP, environment=APP)
    await _send(session, "PUT", f"/v1/virtual-environments/{APP}", virtual)
    for name in DEPLOYMENTS:
        components = {_COMPONENT: _HASH}
        deployment = Deployment(name=name, app=APP, components=components, version=name)
        body = {"deployment": deployment, "components": [version]}
        await _send(session, "PUT", f"/v1/deployments/{name}", body)


async def propagate(
    session: aiohttp.ClientSession, routers: Mapping[str, str], releases: int
) -> dict[str, list[int]]:
    """Release both deployments alternately; return the times of propagation in ns, by router.

    Args:
        session: Session for the control API.
        routers: URL of each HTTP adapter, by name.
        releases: Number of releases.
    """
    times: dict[str, list[int]] = {name: [] for name in routers}
    async with aiohttp.ClientSession() as client:
        for number in range(releases):
            body = {"selector": DEPLOYMENTS[number % len(DEPLOYMENTS)]}
            answer = await _send(session, "POST", f"/v1/releases/{APP}", body)
            returned_ns = perf_counter_ns()
            release = _active_id(answer)
            seen = await asyncio.gather(
                *(_first_routed(client, url, release) for url in routers.values())
            )
            for name, seen_ns in zip(routers, seen, strict=True):
                times[name].append(seen_ns - returned_ns)
    return times


async def _first_routed(client: aiohttp.ClientSession, url: str, release: str) -> int:
    while True:
        async with client.get(f"{url}{PATH}") as answer:
            if answer.headers.get("kubefox-release") == release and answer.status == 200:
                return perf_counter_ns()


async def _send(session: aiohttp.ClientSession, method: str, path: str, body: object) -> bytes:
    headers = {"content-type": "application/json"}
    content = msgspec.json.encode(body)
    async with session.request(method, path, data=content, headers=headers) as answer:
        text = await answer.read()
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {text.decode()}")
        return text


def _active_id(answer: bytes) -> str:
    state = msgspec.json.decode(answer, type=StoredRecord[ReleaseState]).object
    assert state.active is not None
    return state.active.id
