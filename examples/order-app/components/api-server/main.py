"""API Server: keeps the orders. Both modules use it, and it runs once for both."""

from __future__ import annotations

import time
from typing import Any

import orders
import views
from orders import MovedMeanwhile, NotHere, Order, OrderError

from fox import Context, Kit, Response
from model.errors import RevisionConflict

kit = Kit(title="API Server", description="Keeps the orders of the Order App.")
store = kit.state_store("orders")
kit.env("currency", default="EUR", description="What prices are shown in.")


@kit.default
async def serve(ctx: Context) -> Response:
    """Answer Order UI and Order Worker."""
    try:
        return await _answer(ctx)
    except OrderError as error:
        return Response({"problem": str(error)}, status=error.status)


async def _answer(ctx: Context) -> Response:
    match (ctx.method, *ctx.segments):
        case ("GET", "orders"):
            return Response(views.overview(await _load_all(ctx), _currency(ctx)))
        case ("GET", "orders", number):
            order, _ = await _load(ctx, number)
            return Response(views.order(order, _currency(ctx)))
        case ("POST", "orders"):
            return Response(await place_order(ctx), status=201)
        case ("PUT", "orders", number, "status"):
            return Response(await move_order(ctx, number))
    raise NotHere(f"There is no {ctx.path} here.")


async def place_order(ctx: Context) -> dict[str, Any]:
    """Keep a new order under the next free number."""
    wish = orders.parse_wish(ctx.json())
    while True:
        number = orders.next_number(each.number for each in await _load_all(ctx))
        order = orders.place(wish, number, at_s=time.time(), by=ctx.source)
        try:
            await store.put(str(number), order, ctx=ctx, revision=0)
        except RevisionConflict:
            continue  # somebody else's order took the number first
        ctx.log.info("placed", order=number)
        return views.order(order, _currency(ctx))


async def move_order(ctx: Context, number: str) -> dict[str, Any]:
    """Keep the step of an order from one status to the next."""
    order, revision = await _load(ctx, number)
    step = ctx.json()
    moved = orders.move(order, step["from"], step["to"], at_s=time.time(), by=ctx.source)
    try:
        await store.put(number, moved, ctx=ctx, revision=revision)
    except RevisionConflict as error:
        raise MovedMeanwhile(f"Order {number} was moved by somebody else.") from error
    return views.order(moved, _currency(ctx))


async def _load(ctx: Context, number: str) -> tuple[Order, int]:
    entry = await store.get(number, ctx=ctx)
    if entry is None:
        raise NotHere(f"There is no order {number}.")
    return entry.json(Order), entry.revision


async def _load_all(ctx: Context) -> list[Order]:
    found = [each.json(Order) for each in await store.list(ctx=ctx)]
    return sorted(found, key=lambda order: order.number)


def _currency(ctx: Context) -> str:
    return str(ctx.env["currency"])
