"""Measure, store the results as JSON, and show them in docs/performance.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec
import uvloop

from benchmarks.e2e import envoy, lifecycle
from benchmarks.e2e.contestants import ENVOY, MESH
from benchmarks.e2e.loads import FULL, SHORT, Effort, run_all
from benchmarks.e2e.page import page, picture
from benchmarks.e2e.report import PACKAGES, Report
from benchmarks.support.document import place
from benchmarks.support.load import open_generator
from benchmarks.support.machine import describe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.e2e", description=__doc__)
    parser.add_argument("--full", action="store_true", help="run longer, with more loads")
    parser.add_argument("--render", action="store_true", help="show the last results again")
    options = parser.parse_args()
    name = "e2e-full" if options.full else "e2e"
    results = RESULTS / f"{name}.json"
    if not options.render:
        report = uvloop.run(measure(FULL if options.full else SHORT))
        results.parent.mkdir(exist_ok=True)
        results.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    # Show the stored results: rendering them again later gives the same page.
    kept = msgspec.json.decode(results.read_bytes(), type=Report)
    drawn = DOCUMENT.with_name(f"performance-{name}.svg")
    drawn.write_text(picture(kept))
    shown = page(kept, drawn.name)
    place(DOCUMENT, name, shown)
    print(shown)


async def measure(effort: Effort) -> Report:
    """Run the benchmark on this machine and return the report."""
    machine = describe(*PACKAGES)
    async with open_generator() as generator:
        experiments = await run_all(generator, effort)
    print("Deployments and an idle platform …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        life = await lifecycle.measure(Path(folder, "life"), repeats=effort.repeats)
    return Report(
        machine=machine,
        is_full=effort.is_full,
        left_out=_left_out(),
        experiments=experiments,
        lifecycle=life,
    )


def _left_out() -> tuple[str, ...]:
    if envoy.is_installed():
        return ()
    return (f"Left out: {ENVOY}; {MESH}. Envoy is not installed: run `make bench-peers`.",)


if __name__ == "__main__":
    main()
