"""A report as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.e2e.aims import WORKERS_CORES, aims
from benchmarks.e2e.experiments import Experiment
from benchmarks.e2e.lifecycle import Lifecycle
from benchmarks.e2e.report import Report
from benchmarks.support.chart import Bar, Panel, svg
from benchmarks.support.document import table
from benchmarks.support.rounds import Result, Spread

OWN, BASE = "KubeFox", "floor"


_VERDICTS = {True: "yes", False: "**no**", None: f"needs {WORKERS_CORES} cores"}


def page(report: Report, picture_name: str) -> str:
    """Return the page: machine, picture, aims and tables; a full report has a title."""
    parts = [
        *(["## Whole requests: all loads"] if report.is_full else []),
        str(report.machine),
        f"![Throughput and latency of every contestant]({picture_name})",
        *report.left_out,
        _aims(report),
        *map(_experiment, report.experiments),
        _lifecycle(report.lifecycle),
    ]
    return "\n\n".join(parts)


def picture(report: Report) -> str:
    """Return throughput and latency of every contestant as SVG."""
    throughput, latency = report.experiment("throughput"), report.experiment("latency")
    return svg(
        (
            _panel(throughput, "requests a second", lambda result: result.rate_per_s, _rate_note),
            _panel(latency, "p50 in µs", lambda result: result.p50_us, _p50_note),
        )
    )


def _aims(report: Report) -> str:
    rows = [(aim.text, aim.wanted, aim.reached, _VERDICTS[aim.is_met]) for aim in aims(report)]
    return table(("aim", "wanted", "reached", "met"), rows)


def _experiment(found: Experiment) -> str:
    roles = list(dict.fromkeys(name for result in found.results for name in result.cpu_us))
    head = [
        *("", "requests/s", "× baseline", "p50 µs", "× baseline", "p99 µs"),
        *(f"CPU µs, {name}" for name in roles),
    ]
    rows = [
        [
            _name(result),
            _range(result.rate_per_s),
            _times(result.rate_ratio),
            _range(result.p50_us),
            _times(result.p50_ratio),
            f"{result.p99_us.median:,.0f}",
            *(_cpu(result, name) for name in roles),
        ]
        for result in found.results
    ]
    load = found.load
    title = f"**{found.title}** ({found.rounds} rounds of {load.duration_s:g} s)"
    return f"{title}\n\n{table(head, rows)}"


def _lifecycle(life: Lifecycle) -> str:
    deploys = [
        ("deployment of known hashes, stored until it answers, ms", _range(life.known_ms)),
        ("pod of a new hash, stored until it answers, s", _fine(life.new_pod_s)),
        ("request to an idle version, until it is answered, s", _fine(life.wake_s)),
        ("`fox deploy --wait` of one changed component, s", _fine(life.fox_deploy_s)),
    ]
    idle = [
        (name, f"{process.rss_mib:g}", f"{process.wakeups_per_s:g}")
        for name, process in life.idle.items()
    ]
    return "\n\n".join(
        (
            "**Deploying** (`fox up`)",
            table(("", "median (lowest to highest)"), deploys),
            "**Idle** (`fox up` with three pods)",
            table(("process", "RSS MiB", "wake-ups/s"), idle),
        )
    )


def _name(result: Result) -> str:
    failed = sum(result.failures.values())
    return f"{result.name} ({failed:,} failed)" if failed else result.name


def _range(found: Spread) -> str:
    return f"{found.median:,.0f} ({found.low:,.0f}–{found.high:,.0f})"


def _fine(found: Spread) -> str:
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


def _times(found: Spread | None) -> str:
    return f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})" if found else ""


def _cpu(result: Result, name: str) -> str:
    return f"{result.cpu_us[name]:.0f}" if name in result.cpu_us else ""


def _panel(
    found: Experiment,
    unit: str,
    spread_of: Callable[[Result], Spread],
    note: Callable[[Result], str],
) -> Panel:
    bars = tuple(
        Bar(
            label=result.name,
            value=spread_of(result).median,
            low=spread_of(result).low,
            high=spread_of(result).high,
            note=note(result),
            kind=_kind(result.name),
        )
        for result in found.results
    )
    return Panel(title=f"{found.title.split(':')[0]}: {unit}, {_load(found)}", bars=bars)


def _load(found: Experiment) -> str:
    count = found.load.connections
    return f"{count} connections" if count > 1 else "1 connection"


def _kind(name: str) -> str:
    if name.startswith(OWN):
        return "own"
    return "floor" if name.startswith(BASE) else "peer"


def _rate_note(result: Result) -> str:
    ratio = result.rate_ratio
    return f"{result.rate_per_s.median:,.0f}" + (f" · {ratio.median:.2f}×" if ratio else "")


def _p50_note(result: Result) -> str:
    ratio = result.p50_ratio
    return f"{result.p50_us.median:,.0f}" + (f" · {ratio.median:.2f}×" if ratio else "")
