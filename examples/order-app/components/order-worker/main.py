"""Order Worker: moves each order one step further, by a schedule."""

from __future__ import annotations

from collections import Counter
from typing import Any

import report_page

from fox import Context, Kit, Response

# For caches: the response depends on the accept header.
VARIES = {"vary": "accept"}
NEXT = {"placed": "packed", "packed": "shipped", "shipped": "delivered"}

kit = Kit(title="Order Worker", description="Packs, ships and delivers orders.")
api = kit.component("api-server")


@kit.schedule("@every 2s")
async def tick(ctx: Context) -> None:
    """Move each open order of this environment one step further."""
    response = await api.get("/orders", ctx=ctx)
    for order in response.json()["orders"]:
        if order["status"] in NEXT:
            await _move(ctx, order["number"], order["status"])


@kit.route("Path(`/{{.Vars.subPath}}/order-app/fulfillment`) && Method(`GET`, `HEAD`)")
async def show_report(ctx: Context) -> Response:
    """Return the report: HTML for a browser, JSON for a program."""
    counts = await _report(ctx)
    if "text/html" not in ctx.headers.get("accept", ""):
        return Response(counts, headers=VARIES)
    page = report_page.render(ctx, counts["orders"], counts["components"])
    return Response(page, headers=VARIES, content_type="text/html; charset=utf-8")


@kit.default
async def report(ctx: Context) -> dict[str, Any]:
    """Return the report to other components."""
    return await _report(ctx)


async def _report(ctx: Context) -> dict[str, Any]:
    """Return the number of orders with each status, and the components that counted them."""
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
    # 409 means that the order has moved already: a tick may be delivered twice.
    if response.status == 200:
        ctx.log.info("moved", order=number, status=NEXT[status])
