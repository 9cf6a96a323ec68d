"""Front: calls the component ``back``, and returns its answer."""

from __future__ import annotations

from fox import Context, Kit, Response

kit = Kit(title="Front")
back = kit.component("back")


@kit.route("Path(`/{{.Vars.subPath}}/hop`)")
async def answer(ctx: Context) -> Response:
    """Return the answer of ``back``."""
    return await back.get("/", ctx=ctx)
