"""Worker: handles the events that ``busy`` emits."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from fox import Context, Kit

kit = Kit(title="Worker")


@kit.default
async def handle(ctx: Context) -> None:
    """Note the time, and wait as long as the event says."""
    job = ctx.json()
    if job["file"]:
        part = Path(f"{job['file']}.part")
        part.write_text(repr(time.time()))
        part.rename(job["file"])
    await asyncio.sleep(job["for_s"])
