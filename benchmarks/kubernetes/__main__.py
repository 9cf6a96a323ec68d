"""Measure many component versions in a cluster, and show the results in the capacity page."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from benchmarks.kubernetes import measures
from benchmarks.kubernetes.apps import Apps
from benchmarks.kubernetes.report import PACKAGES, Report, page
from benchmarks.kubernetes.site import open_site
from benchmarks.support.document import place
from benchmarks.support.machine import describe
from tests.kubernetes import binary

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "kubernetes.json"
DOCUMENT = ROOT / "docs" / "operations" / "capacity.md"
NAME = "kubernetes"
VERSIONS, NODES = 500, 4
REST_S, DEPLOYMENTS = 60.0, 5


def main() -> None:
    """Run the benchmark."""
    options = _options()
    if not options.render:
        found = uvloop.run(measure(options.versions or VERSIONS, options.rest))
        if options.versions:
            print(page(found))
            return
        RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    kept = msgspec.json.decode(RESULTS.read_bytes(), type=Report)
    print(page(kept))
    place(DOCUMENT, NAME, page(kept))


async def measure(versions: int, rest_s: float) -> Report:
    """Measure so many component versions and return the report.

    Args:
        versions: A multiple of the components of an app.
        rest_s: How long a platform at rest is watched.
    """
    machine = describe(*PACKAGES)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with open_site(Path(folder), NODES) as site:
            apps = await asyncio.to_thread(Apps, site.control, measures.COMPONENTS)
            _tell(f"{versions} versions: first deployment …")
            convergence = await measures.converge(site, apps, versions // measures.COMPONENTS)
            _tell("at rest …")
            rest = await measures.rest(site, rest_s)
            _tell("one more deployment …")
            more = [await measures.one_more(site, apps, each) for each in range(DEPLOYMENTS)]
            # Each starts again with less memory.
            peaks = site.peak_mib()
            _tell("restarts …")
            runner = await measures.restart_runner(site)
            control = await measures.restart_control(site)
    return Report(
        machine=machine,
        kubernetes=binary.kubernetes_version(),
        versions=versions,
        nodes=NODES,
        convergence=convergence,
        rest=rest,
        one_more=tuple(more),
        runner=runner,
        control=control,
        peak_mib=peaks,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kubernetes", description=__doc__)
    parser.add_argument("--versions", type=int, help="such as 100; the results are printed only")
    parser.add_argument("--rest", type=float, default=REST_S, help="seconds at rest")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    return parser.parse_args()


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
