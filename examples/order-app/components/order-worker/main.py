"""Order Worker: moves orders on, one step with every tick of the clock."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fox import Context, Kit

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


@kit.route("Path(`/{{.Vars.subPath}}/order-app/fulfillment`) && Method(`GET`)")
@kit.default
async def report(ctx: Context) -> dict[str, Any]:
    """Tell how many orders are at each step, and who counted them."""
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
