"""Order Worker: moves orders on, one step with every tick of the clock."""

from __future__ import annotations

from collections import Counter
from typing import Any

import report_page

from fox import Context, Kit, Response

# For caches: one URL has two answers.
VARIES = {"vary": "accept"}
NEXT = {"placed": "packed", "packed": "shipped", "shipped": "delivered"}

kit = Kit(title="Order Worker", description="Packs, ships and delivers what was ordered.")
api = kit.component("api-server")


@kit.schedule("@every 2s")
async def tick(ctx: Context) -> None:
    """Move every open order of this environment one step on."""
    response = await api.get("/orders", ctx=ctx)
    for order in response.json()["orders"]:
        if order["status"] in NEXT:
            await _move(ctx, order["number"], order["status"])


@kit.route("Path(`/{{.Vars.subPath}}/order-app/fulfillment`) && Method(`GET`, `HEAD`)")
async def show_report(ctx: Context) -> Response:
    """Show the report as a page to a browser, and as JSON to a program."""
    told = await _count(ctx)
    if "text/html" not in ctx.headers.get("accept", ""):
        return Response(told, headers=VARIES)
    page = report_page.render(ctx, told["orders"], told["components"])
    return Response(page, headers=VARIES, content_type="text/html; charset=utf-8")


@kit.default
async def report(ctx: Context) -> dict[str, Any]:
    """Give other components the report."""
    return await _count(ctx)


async def _count(ctx: Context) -> dict[str, Any]:
    """Return how many orders are at each step, and who counted them."""
    response = await api.get("/orders", ctx=ctx)
    count = Counter(order["status"] for order in response.json()["orders"])
    return {
        "deployment": ctx.deployment,
        "virtual_environment": ctx.virtual_environment,
        "components": [f"{ctx.component}@{ctx.hash}", response.source],
        "orders": {status: count[status] for status in ("placed", *NEXT.values())},
    }


async def _move(ctx: Context, number: int, status: str) -> None:
    step = {"from": status, "to": NEXT[status]}
    response = await api.put(f"/orders/{number}/status", ctx=ctx, json=step)
    # 409 means that the order has moved already: a tick may come twice.
    if response.status == 200:
        ctx.log.info("moved", order=number, status=NEXT[status])
