"""Gate: passes the bodies of requests and of answers on."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fox import Context, Kit, Response

kit = Kit(title="Gate")
store = kit.component("store")


@kit.route("Path(`/{{.Vars.subPath}}/via/bytes`)", streams_body=True)
async def pass_on(ctx: Context) -> Response:
    """Return the answer of ``store``."""

    async def chunks() -> AsyncIterator[bytes]:
        opened = store.stream(ctx.method, "/", ctx=ctx, query=dict(ctx.query), body=ctx.stream())
        async with opened as answer:
            async for chunk in answer:
                yield chunk

    return Response.stream(chunks())
