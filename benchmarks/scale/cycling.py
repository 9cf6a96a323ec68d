"""Requests to so many previews in turn: ``python -m benchmarks.scale.cycling N``.

Rounds of requests to a hot set of previews and of requests to all previews take turns. CPU time for
a request moves less on a busy machine than throughput. Before the last line, the environment of all
previews is changed, so each request has a new context.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from benchmarks.scale.changes import Changer
from benchmarks.scale.site import Site, open_site
from benchmarks.scale.traffic import HOT, send_in_turn
from benchmarks.support.load import open_generator
from benchmarks.support.rounds import Sender


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.cycling", description=__doc__)
    parser.add_argument("previews", type=int, help="number of previews")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    uvloop.run(_measure(options.previews, options.rounds))


async def _measure(previews: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            sender = await stack.enter_async_context(open_generator())
            site = await stack.enter_async_context(open_site(Path(folder, "site"), previews))
            await _show(site, sender, previews, "first requests")
            ratios = []
            for _ in range(rounds):
                hot = await _show(site, sender, HOT, f"{HOT} in turn")
                ratios.append(await _show(site, sender, previews, f"{previews:,} in turn") / hot)
            print(f"in turn: {statistics.median(ratios):.2f} × the requests/s of {HOT}")
            await (await Changer.at(site)).environment_s(is_used=False)
            await _show(site, sender, previews, "after a change of their environment")


async def _show(site: Site, sender: Sender, previews: int, name: str) -> float:
    await site.settle()
    before_ns = site.cpu_ns()
    rate_per_s = await send_in_turn(site, sender, previews, site.size)
    await site.settle()
    after_ns = site.cpu_ns()
    cpu_us = {role: (after_ns[role] - before_ns[role]) / site.size / 1e3 for role in after_ns}
    shares = ", ".join(f"{role} {used_us:.0f} µs" for role, used_us in cpu_us.items())
    print(f"{name}: {rate_per_s:,.0f}/s; CPU: {shares}", flush=True)
    return rate_per_s


if __name__ == "__main__":
    main()
