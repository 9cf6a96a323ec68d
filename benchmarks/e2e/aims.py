"""What the platform aims at, beside what it reached."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchmarks.e2e.contestants import EXPLICIT, FLOOR, FLOOR_HOP, HOP, PLAIN
from benchmarks.e2e.report import Report
from benchmarks.support.rounds import Result

WORKERS_CORES = 5
"""For two workers, nats-server, a pod and the load generator at once."""


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """One aim.

    Attributes:
        text: What is measured.
        wanted: As text.
        reached: As text.
        is_met: Whether what was reached is within what is wanted; None where the machine has too
            few cores to tell.
    """

    text: str
    wanted: str
    reached: str
    is_met: bool | None


def aims(report: Report) -> list[Aim]:
    """Return every aim, in the order of importance."""
    return [*_requests(report), *_growth(report), *_life(report)]


def _requests(report: Report) -> Iterator[Aim]:
    throughput, latency = report.experiment("throughput"), report.experiment("latency")
    for name in (EXPLICIT, PLAIN):
        yield _least(f"{name}: throughput", _ratio(throughput.of(name)), 1.0, "× the floor's")
    for name in (EXPLICIT, PLAIN):
        found = latency.of(name).p50_ratio
        assert found is not None
        yield _most(f"{name}: p50, one connection", found.median, 1.05, "× the floor's")
    floor_us = throughput.of(FLOOR).cpu_us["adapter"]
    own_us = throughput.of(EXPLICIT).cpu_us["adapter"]
    yield _most("CPU of the adapter for a request", own_us / floor_us, 1.1, "× the floor's")
    second_us = latency.of(FLOOR_HOP).p50_us.median - latency.of(FLOOR).p50_us.median
    hop_us = latency.of(HOP).p50_us.median - latency.of(EXPLICIT).p50_us.median
    yield _most(
        "A hop to another component: p50", hop_us / second_us, 1.0, "× the floor's second request"
    )


def _growth(report: Report) -> Iterator[Aim]:
    one, many = (report.experiment("deployments").results[at] for at in (0, -1))
    assert many.rate_ratio is not None
    lost, error = max(0.0, (1 - _ratio(many)) * 100), many.rate_ratio.error * 100
    found = _most(f"{one.name} → {many.name}: throughput lost", lost, 3, " %")
    yield msgspec.structs.replace(found, reached=f"{found.reached} ± {error:.1f}")
    workers = report.experiment("workers").results[-1]
    found = _least(f"{workers.name} instead of 1: throughput", _ratio(workers), 1.7, "×")
    has_cores = report.machine.cores >= WORKERS_CORES
    yield found if has_cores else msgspec.structs.replace(found, is_met=None)


def _life(report: Report) -> Iterator[Aim]:
    life = report.lifecycle
    platform = [each for name, each in life.idle.items() if name != "a pod"]
    yield _most("Deploying known hashes until they answer", life.known_ms.median, 50, " ms")
    yield _most("A pod of a new hash until it answers", life.new_pod_s.median, 1, " s")
    yield _most("A sleeping pod until it answers", life.wake_s.median, 1, " s")
    yield _most("Idle platform", sum(each.rss_mib for each in platform), 150, " MiB")
    yield _most("Idle pod", life.idle["a pod"].rss_mib, 40, " MiB")
    # nats-server asks after each of its clients every 5 s, and a pod says as often that it lives.
    yield _most("Idle pod", life.idle["a pod"].wakeups_per_s, 0.5, " wake-ups a second")
    # Besides, what is followed has heartbeats and the lease is renewed every 3 s.
    yield _most("Idle `fox up`", life.idle["fox up"].wakeups_per_s, 2, " wake-ups a second")


def _ratio(result: Result) -> float:
    assert result.rate_ratio is not None
    return result.rate_ratio.median


def _least(text: str, reached: float, wanted: float, unit: str) -> Aim:
    return Aim(
        text=text,
        wanted=f"at least {wanted:g}{unit}",
        reached=f"{_figure(reached)}{unit.split(' the', maxsplit=1)[0]}",
        is_met=reached >= wanted,
    )


def _most(text: str, reached: float, wanted: float, unit: str) -> Aim:
    return Aim(
        text=text,
        wanted=f"at most {wanted:g}{unit}",
        reached=f"{_figure(reached)}{unit.split(' the', maxsplit=1)[0]}",
        is_met=reached <= wanted,
    )


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
