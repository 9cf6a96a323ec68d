"""Snoop: calls API Server without declaring it, which the platform refuses."""

from __future__ import annotations

from fox import Context, Kit, Response

kit = Kit(title="Snoop", description="Breaks the rules, for the demo.")


@kit.route("Path(`/{{.Vars.subPath}}/order-app/snoop`) && Method(`GET`)")
async def snoop(ctx: Context) -> Response:
    """Try to read the orders."""
    return await ctx.request("api-server", "GET", "/orders")
