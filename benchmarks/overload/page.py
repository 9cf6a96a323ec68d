"""A report as Markdown."""

from __future__ import annotations

from benchmarks.overload.capacity import MAX_WAIT_S, Goodput
from benchmarks.overload.neighbours import RATE_PER_S, Neighbour
from benchmarks.overload.noticing import NEW_REQUESTS, Noticed
from benchmarks.overload.report import EXPIRED, REJECTED, Report, aims
from benchmarks.support.document import table
from benchmarks.support.rounds import Spread

_VERDICTS = {True: "yes", False: "**no**"}
_NEIGHBOURS = (
    f"**Neighbours**: {RATE_PER_S} requests a second of one environment, alone and beside the "
    "flood of another one"
)


def page(report: Report) -> str:
    """Return the page: machine, aims and a table for each question."""
    parts = [
        str(report.machine),
        *(["This was a short run (`--quick`)."] if report.is_quick else []),
        _aims(report),
        f"**Overload**, with `FOX_POD_MAX_WAIT_S={MAX_WAIT_S:g}`",
        _goodput(report.goodput),
        _NEIGHBOURS,
        _neighbours(report.neighbours),
        _events(report),
        "**Faults**, in seconds from the fault",
        _faults(report.faults),
    ]
    return "\n\n".join(parts)


def _aims(report: Report) -> str:
    rows = [(aim.text, aim.wanted, aim.reached, _VERDICTS[aim.is_met]) for aim in aims(report)]
    return table(("aim", "wanted", "reached", "met"), rows)


def _goodput(found: tuple[Goodput, ...]) -> str:
    head = (
        *("handler", "offered, × capacity", "requests", "200, share of capacity"),
        *("p50 of 200, ms", "p99 of 200, ms", "503", "504", "others"),
    )
    return table(head, [_goodput_row(one) for one in found])


def _goodput_row(found: Goodput) -> tuple[str, ...]:
    known = {REJECTED, EXPIRED}
    others = sum(count for status, count in found.failures.items() if status not in known)
    return (
        found.handler,
        f"{found.times:g}",
        f"{found.offered:,}",
        f"{found.share.median:.2f} ({found.share.low:.2f}–{found.share.high:.2f})",
        _whole(found.p50_ms),
        _whole(found.p99_ms),
        _share(found.failures.get(REJECTED, 0), found.offered),
        _share(found.failures.get(EXPIRED, 0), found.offered),
        f"{others:,}",
    )


def _neighbours(found: tuple[Neighbour, ...]) -> str:
    head = (
        *("flood", "p50 alone, ms", "p50 beside it, ms"),
        *("p99 alone, ms", "p99 beside it, ms", "p99, ×", "requests", "not 200"),
    )
    rows = [
        (
            one.flood,
            _fine(one.alone_p50_ms),
            _fine(one.p50_ms),
            _fine(one.alone_p99_ms),
            _fine(one.p99_ms),
            _fine(one.p99_ratio),
            f"{one.requests:,}",
            f"{sum(one.failures.values()):,}",
        )
        for one in found
    ]
    return table(head, rows)


def _events(report: Report) -> str:
    events = report.events
    rows = [
        ("alone", _fine(events.alone_ms)),
        (f"while {events.waiting:,} events of another environment wait", _fine(events.beside_ms)),
    ]
    return table(("emitted event, until its handler begins", "ms"), rows)


def _faults(found: tuple[Noticed, ...]) -> str:
    head = (
        "fault",
        "a POST in flight is answered",
        "its answer",
        f"{NEW_REQUESTS} new requests are answered with 200",
    )
    rows = [
        (
            one.fault,
            _fine(one.answered_s),
            ", ".join(dict.fromkeys(one.answers)),
            _fine(one.restored_s),
        )
        for one in found
    ]
    return table(head, rows)


def _share(count: int, of: int) -> str:
    return f"{count / of:.0%}" if count else "0"


def _whole(found: Spread) -> str:
    return f"{found.median:,.0f} ({found.low:,.0f}–{found.high:,.0f})"


def _fine(found: Spread) -> str:
    return f"{_figure(found.median)} ({_figure(found.low)}–{_figure(found.high)})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
