"""Asks another component, and passes its answer on."""

from __future__ import annotations

from fox import Context, Kit, Response

kit = Kit(title="Front")
back = kit.component("back")


@kit.route("Path(`/{{.Vars.subPath}}/hop`)")
async def answer(ctx: Context) -> Response:
    """Answer with what the component behind answers."""
    return await back.get("/", ctx=ctx)
