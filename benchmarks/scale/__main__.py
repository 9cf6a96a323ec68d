"""Measure sites of several sizes side by side, and show the results in the capacity page."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import uvloop

from benchmarks.scale.changes import Changer
from benchmarks.scale.followers import follower_cost
from benchmarks.scale.measures import FULL, SHORT, Effort, each_round, once
from benchmarks.scale.report import PACKAGES, Report, SizeResult, page
from benchmarks.scale.site import open_site
from benchmarks.support.document import place
from benchmarks.support.load import open_generator
from benchmarks.support.machine import describe
from benchmarks.support.rounds import spread

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "scale.json"
DOCUMENT = ROOT / "docs" / "operations" / "capacity.md"
SIZES = (100, 10_000, 100_000)
FOLLOWERS = 20

Values = dict[str, list[float]]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    if not options.render:
        found = uvloop.run(measure(options.sizes or SIZES, SHORT if options.short else FULL))
        if options.short or options.sizes:
            print(page(found))
            return
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    # Show the stored results: rendering them again later gives the same page.
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, "scale", page(kept))


async def measure(sizes: Sequence[int], effort: Effort) -> Report:
    """Measure sites of these sizes and return the report.

    Args:
        sizes: Numbers of previews.
        effort: How long to measure.
    """
    sizes = sorted(sizes)
    machine = describe(*PACKAGES)
    values: list[Values] = [{} for _ in sizes]
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            sender = await stack.enter_async_context(open_generator())
            sites = []
            for size, found in zip(sizes, values, strict=True):
                _tell(f"{size:,} previews: start …")
                site = await stack.enter_async_context(open_site(Path(folder, str(size)), size))
                async for measured in once(site, sender, effort):
                    found.setdefault(measured.name, []).append(measured.value)
                sites.append(site)
            for number in range(effort.rounds):
                for site, found in zip(sites, values, strict=True):
                    _tell(f"round {number + 1} of {effort.rounds}: {site.size:,} previews …")
                    async for measured in each_round(site, sender, effort):
                        found.setdefault(measured.name, []).append(measured.value)
            changer = await Changer.at(sites[0])
            follower = await follower_cost(sites[0], changer, FOLLOWERS, effort.burst)
    results = tuple(
        SizeResult(size=size, values={name: spread(list_) for name, list_ in found.items()})
        for size, found in zip(sizes, values, strict=True)
    )
    return Report(machine=machine, rounds=effort.rounds, sizes=results, follower=follower)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--sizes", type=_sizes, help="such as 100,10000; the results are printed only"
    )
    parser.add_argument(
        "--short", action="store_true", help="one short round; the results are printed only"
    )
    parser.add_argument("--render", action="store_true", help="show the last results again")
    return parser.parse_args()


def _sizes(text: str) -> Sequence[int]:
    return tuple(int(part) for part in text.split(","))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
