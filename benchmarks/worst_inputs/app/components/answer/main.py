"""Answer: answers at once."""

from __future__ import annotations

from fox import Context, Kit

kit = Kit(title="Answer")


@kit.route("Path(`/answer`)")
async def answer(_ctx: Context) -> str:
    """Answer."""
    return "done"
