"""Order UI: the pages for customers, with reviews."""

from __future__ import annotations

import asyncio

import pages
import reviews
from layout import page, url

from fox import Context, Kit, Response

kit = Kit(title="Order UI", description="Lists, places, shows and reviews orders.")
api = kit.component("api-server")
review = kit.component("review")
kit.env("subPath", description="First segment of the app's URLs.")
kit.env("greeting", default="Welcome", description="Text at the top of every page.")
kit.env("accent", default="#c2501c", description="CSS colour of links and buttons.")


@kit.route("Path(`/{{.Vars.subPath}}/order-app`) && Method(`GET`, `HEAD`)")
async def list_orders(ctx: Context) -> Response:
    """Show all orders with their ratings, and the form for a new one."""
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
    """Show one order, its steps and its reviews."""
    return await order_page(ctx)


@kit.route("Path(`/{{.Vars.subPath}}/order-app/orders/{number}/reviews`) && Method(`POST`)")
async def review_order(ctx: Context) -> Response:
    """Store a review and redirect to its order; show the problem if the review is invalid."""
    number = ctx.params["number"]
    if (await api.get(f"/orders/{number}", ctx=ctx)).status != 200:
        return await order_page(ctx)
    stored = await review.post(f"/orders/{number}", ctx=ctx, json=dict(ctx.form()))
    if stored.status != 201:
        return await order_page(ctx, problem=stored.json()["problem"])
    return Response.redirect(url(ctx, f"/orders/{number}"))


async def front_page(ctx: Context, *, problem: str = "") -> Response:
    """Return the page with all orders, with the problem of an order that was not valid."""
    overview, ratings = await asyncio.gather(
        api.get("/orders", ctx=ctx), review.get("/ratings", ctx=ctx)
    )
    notes = {number: reviews.stars(rating) for number, rating in ratings.json().items()}
    body = pages.front(ctx, overview.json(), problem=problem, notes=notes)
    served_by = [overview.source, ratings.source]
    return page(ctx, "Orders", body, served_by=served_by, status=422 if problem else 200)


async def order_page(ctx: Context, *, problem: str = "") -> Response:
    """Return the page of an order, with the problem of a review that was not valid."""
    number = ctx.params["number"]
    order_response, reviews_response = await asyncio.gather(
        api.get(f"/orders/{number}", ctx=ctx), review.get(f"/orders/{number}", ctx=ctx)
    )
    order = order_response.json()
    served_by = [order_response.source, reviews_response.source]
    if order_response.status != 200:
        body = pages.missing(order["problem"])
        return page(ctx, "Not found", body, served_by=served_by, status=order_response.status)
    found = reviews_response.json()
    body = pages.order(ctx, order) + reviews.section(ctx, number, found, problem=problem)
    return page(ctx, order["title"], body, served_by=served_by, status=422 if problem else 200)
