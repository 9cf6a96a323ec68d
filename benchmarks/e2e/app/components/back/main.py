"""Back: answers the calls of the component ``front``."""

from __future__ import annotations

from fox import Context, Kit

BODY = b"x" * 512

kit = Kit(title="Back")


@kit.default
async def answer(_ctx: Context) -> bytes:
    """Answer with 512 bytes."""
    return BODY
