"""Direct: answers requests without a call."""

from __future__ import annotations

from fox import Context, Kit

BODY = b"x" * 512

kit = Kit(title="Direct")


@kit.route("Path(`/{{.Vars.subPath}}/direct`)")
async def answer(_ctx: Context) -> bytes:
    """Answer with 512 bytes."""
    return BODY
