"""Order UI: the pages for customers."""

from __future__ import annotations

import pages
from layout import page, url

from fox import Context, Kit, Response

kit = Kit(title="Order UI", description="Lists, places and shows orders.")
api = kit.component("api-server")
kit.env("subPath", description="First segment of the app's URLs.")
kit.env("greeting", default="Welcome", description="Text at the top of every page.")
kit.env("accent", default="#c2501c", description="CSS colour of links and buttons.")


@kit.route("Path(`/{{.Vars.subPath}}/order-app`) && Method(`GET`, `HEAD`)")
async def list_orders(ctx: Context) -> Response:
    """Show all orders, and the form for a new one."""
    return await front_page(ctx)


@kit.route("Path(`/{{.Vars.subPath}}/order-app/orders`) && Method(`POST`)")
async def place_order(ctx: Context) -> Response:
    """Place an order and redirect to its page; show the form with the problem if it is invalid."""
    placed = await api.post("/orders", ctx=ctx, json=dict(ctx.form()))
    if placed.status != 201:
        return await front_page(ctx, problem=placed.json()["problem"])
    return Response.redirect(url(ctx, f"/orders/{placed.json()['number']}"))


@kit.route("Path(`/{{.Vars.subPath}}/order-app/orders/{number}`) && Method(`GET`, `HEAD`)")
async def show_order(ctx: Context) -> Response:
    """Show one order and its steps."""
    response = await api.get(f"/orders/{ctx.params['number']}", ctx=ctx)
    order = response.json()
    if response.status != 200:
        body = pages.missing(order["problem"])
        return page(ctx, "Not found", body, served_by=[response.source], status=response.status)
    return page(ctx, order["title"], pages.order(ctx, order), served_by=[response.source])


async def front_page(ctx: Context, *, problem: str = "") -> Response:
    """Return the page with all orders, with the problem of an order that was not valid."""
    overview = await api.get("/orders", ctx=ctx)
    body = pages.front(ctx, overview.json(), problem=problem)
    status = 422 if problem else 200
    return page(ctx, "Orders", body, served_by=[overview.source], status=status)
