"""The declaration of a route or a call decides whether its request is sent again."""

from __future__ import annotations

import asyncio

import pytest

from broker.dispatch.broker import Broker
from broker.dispatch.request import DispatchRequest
from broker.nats.gone_pods import PodGone, encode_notice
from broker.runtime.ids import new_id
from broker.streams.incoming import IncomingStream
from fox import Context, Kit
from kubefox import subjects
from kubefox.context import adapter_source
from kubefox.errors import ComponentGone
from routing.request import GenesisRequest
from routing.selectors import Selectors
from tests.support.data_plane import DataPlane, digest

SELECTORS = Selectors(deployment="retries", virtual_environment="team-a")


class Handled:
    """A handler whose first event is lost with its pod; it answers with the event's attempt."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self, ctx: Context) -> str:
        if not self.begun.is_set():
            self.begun.set()
            await self.may_end.wait()
        return f"attempt {ctx.attempt}"


async def lose_first(broker: Broker, handled: Handled, component: str) -> None:
    """Announce the death of the component's pod when it handles its first event."""
    await handled.begun.wait()
    subject = subjects.component("shop", component, digest("v1"))
    notice = PodGone(subject=subject, pod=f"{component}-1")
    await broker.bus.publish(subjects.pods_gone(subject), encode_notice(notice))


async def request(broker: Broker, method: str, path: str) -> bytes:
    routed = GenesisRequest(method=method, path=path)
    target = broker.resolve(routed, SELECTORS).target
    _, body = await broker.dispatch(
        DispatchRequest(
            target=broker.dispatch_target(target),
            request=routed,
            event_id=new_id(),
            source=adapter_source("http"),
            handler=target.route,
        )
    )
    assert not isinstance(body, IncomingStream)
    return bytes(body)


async def answer_after_death(
    data_plane: DataPlane, api: Handled, component: str, method: str, path: str
) -> bytes:
    """Return the answer of a request whose pod dies while it handles the first attempt."""
    dying = asyncio.create_task(lose_first(data_plane.broker, api, component))
    try:
        return await request(data_plane.broker, method, path)
    finally:
        await dying
        api.may_end.set()


@pytest.mark.parametrize(
    ("method", "idempotent", "is_sent_again"),
    [
        ("GET", None, True),
        ("GET", False, False),
        ("POST", None, False),
        ("POST", True, True),
    ],
)
async def test_a_route_declares_whether_its_requests_are_idempotent(
    data_plane: DataPlane, method: str, idempotent: bool | None, is_sent_again: bool
) -> None:
    api, kit = Handled(), Kit()
    kit.route("Path(`/orders`)", idempotent=idempotent)(api)
    await data_plane.deploy("retries", {"orders": kit})
    await data_plane.start("orders", kit)

    if is_sent_again:
        answer = await answer_after_death(data_plane, api, "orders", method, "/orders")
        assert answer == b"attempt 2"
    else:
        with pytest.raises(ComponentGone):
            await answer_after_death(data_plane, api, "orders", method, "/orders")
    assert data_plane.broker.senders.retries == is_sent_again


@pytest.mark.parametrize(
    ("method", "idempotent", "is_sent_again"),
    [("GET", None, True), ("POST", None, False), ("POST", True, True)],
)
async def test_a_call_declares_whether_it_is_idempotent(
    data_plane: DataPlane, method: str, idempotent: bool | None, is_sent_again: bool
) -> None:
    api, orders, web = Handled(), Kit(), Kit()
    orders.default(api)
    client = web.component("orders")

    @web.route("Path(`/page`)", idempotent=False)
    async def page(ctx: Context) -> str:
        answer = await client.request(method, "/", ctx=ctx, idempotent=idempotent)
        return answer.text

    await data_plane.deploy("retries", {"orders": orders, "pages": web})
    await data_plane.start("orders", orders)
    await data_plane.start("pages", web)

    if is_sent_again:
        answer = await answer_after_death(data_plane, api, "orders", "GET", "/page")
        assert answer == b"attempt 2"
    else:
        with pytest.raises(ComponentGone):
            await answer_after_death(data_plane, api, "orders", "GET", "/page")
