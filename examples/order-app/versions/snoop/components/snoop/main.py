"""Snoop: calls API Server without declaring it as a dependency; the platform refuses the call."""

from __future__ import annotations

from fox import Context, Kit, Response

kit = Kit(title="Snoop", description="Makes an undeclared call, for the demo.")


@kit.route("Path(`/{{.Vars.subPath}}/order-app/snoop`) && Method(`GET`)")
async def snoop(ctx: Context) -> Response:
    """Try to read the orders."""
    return await ctx.request("api-server", "GET", "/orders")
