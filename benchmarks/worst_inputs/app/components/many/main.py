"""Many: has as many routes over a variable as a deployment may have."""

from __future__ import annotations

from fox import Context, Kit

kit = Kit(title="Many")


async def answer(_ctx: Context) -> str:
    """Answer."""
    return "done"


for number in range(199):
    kit.route(f"Host(`{{{{.Vars.hosts}}}}`) && Path(`/many/{number}`)")(answer)
