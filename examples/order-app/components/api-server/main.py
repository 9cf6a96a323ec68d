"""API Server: stores the orders. Both modules of the app use the same pod of it."""

from __future__ import annotations

import time
from typing import Any

import orders
import views
from orders import NotFound, Order, OrderError, StatusConflict

from fox import Context, Kit, Response
from fox.errors import RevisionConflict

kit = Kit(title="API Server", description="Stores the orders of the Order App.")
store = kit.state_store("orders")
kit.env("currency", default="EUR", description="Currency of prices.")


@kit.default
async def serve(ctx: Context) -> Response:
    """Handle the calls of Order UI and Order Worker."""
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
    raise NotFound(f"There is no path {ctx.path}.")


async def place_order(ctx: Context) -> dict[str, Any]:
    """Store a new order under the next free number."""
    request = orders.parse_request(ctx.json())
    while True:
        number = orders.next_number(order.number for order in await _load_all(ctx))
        order = orders.place(request, number, at_s=time.time(), by=ctx.source)
        try:
            await store.put(str(number), order, ctx=ctx, revision=0)
        except RevisionConflict:
            continue  # another order took the number first
        ctx.log.info("placed", order=number)
        return views.order(order, _currency(ctx))


async def move_order(ctx: Context, number: str) -> dict[str, Any]:
    """Store the step of an order from one status to the next."""
    order, revision = await _load(ctx, number)
    step = ctx.json()
    moved = orders.move(order, step["from"], step["to"], at_s=time.time(), by=ctx.source)
    try:
        await store.put(number, moved, ctx=ctx, revision=revision)
    except RevisionConflict as error:
        raise StatusConflict(f"Order {number} was changed by another request.") from error
    return views.order(moved, _currency(ctx))


async def _load(ctx: Context, number: str) -> tuple[Order, int]:
    entry = await store.get(number, ctx=ctx)
    if entry is None:
        raise NotFound(f"There is no order {number}.")
    return entry.json(Order), entry.revision


async def _load_all(ctx: Context) -> list[Order]:
    stored = [entry.json(Order) for entry in await store.list(ctx=ctx)]
    return sorted(stored, key=lambda order: order.number)


def _currency(ctx: Context) -> str:
    return str(ctx.env["currency"])
