"""The results of all sizes as one document and as a table for people."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from os import cpu_count, getloadavg

import msgspec

from benchmarks.routing.size import SizeResult
from benchmarks.routing.timing import Latency

PACKAGES = ("msgspec", "immutables", "google-re2")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Results and where they were measured; a load above 1 means that others worked there too."""

    python: str
    machine: str
    packages: dict[str, str]
    load_average: float
    sizes: tuple[SizeResult, ...]


def report(sizes: Sequence[SizeResult]) -> Report:
    """Return the report of this machine."""
    return Report(
        python=platform.python_version(),
        machine=f"{platform.machine()} {platform.system()}, {cpu_count()} cores",
        packages={name: version(name) for name in PACKAGES},
        load_average=round(getloadavg()[0], 1),
        sizes=tuple(sizes),
    )


def table(found: Report) -> str:
    """Return the report as Markdown, one row for each size."""
    blocks = (
        ("Decision, p50 / p99 in µs", _decisions),
        ("Linear scan of the same rules, p50 / p99 in µs", _scans),
        ("Changes in µs, start in s", _changes),
        ("Memory in bytes", _memory),
    )
    packages = ", ".join(f"{name} {number}" for name, number in found.packages.items())
    header = f"Python {found.python}, {found.machine}, load {found.load_average}, {packages}"
    return "\n\n".join([header, *(_block(title, rows, found) for title, rows in blocks)])


Cells = Callable[[SizeResult], dict[str, str]]


def _block(title: str, cells: Cells, found: Report) -> str:
    rows = [{"deployments": f"{size.deployments:,}", **cells(size)} for size in found.sizes]
    head = list(rows[0])
    lines = [head, ["---:"] * len(head), *([row[name] for name in head] for row in rows)]
    return f"**{title}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _decisions(size: SizeResult) -> dict[str, str]:
    found = {name: _shown(each) for name, each in size.decisions.items()}
    return {**found, "explicit, first time": _shown(size.first_explicit)}


def _scans(size: SizeResult) -> dict[str, str]:
    routes = size.linear_plain_routes
    return {
        "explicit, 10 routes": _shown(size.linear_explicit),
        f"plain, {routes:,} routes": _shown(size.linear_plain),
        "released routes": f"{size.released_apps * 10:,}",
    }


def _changes(size: SizeResult) -> dict[str, str]:
    changes = {name: f"{each:,.0f}" for name, each in size.updates_us.items()}
    return {**changes, "cold start": f"{size.cold_start_s:.2f}"}


def _memory(size: SizeResult) -> dict[str, str]:
    return {
        "a deployment that shares components": f"{size.bytes_per_deployment:,}",
        "a binding in use": f"{size.bytes_per_binding:,}",
    }


def _shown(found: Latency) -> str:
    return f"{found.p50_us:,.1f} / {found.p99_us:,.1f}"
