"""The aims of the platform, each with the measured value."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchmarks.e2e.contestants import EXPLICIT, FLOOR, FLOOR_HOP, HOP, PLAIN
from benchmarks.e2e.report import Report
from benchmarks.support.rounds import Result

WORKERS_CORES = 5
"""Cores that two workers, nats-server, a pod and the load generator need at the same time."""


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """One aim.

    Attributes:
        text: Description of the measured value.
        wanted: The bound, as text.
        reached: The measured value, as text.
        is_met: Whether the measured value is within the bound; None if the machine has too few
            cores to decide.
    """

    text: str
    wanted: str
    reached: str
    is_met: bool | None


def aims(report: Report) -> list[Aim]:
    """Return all aims, the most important one first."""
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
    if error:
        found = msgspec.structs.replace(found, reached=f"{found.reached} ± {error:.1f}")
    yield found
    workers = report.experiment("workers").results[-1]
    found = _least(f"{workers.name} instead of 1: throughput", _ratio(workers), 1.7, "×")
    has_cores = report.machine.cores >= WORKERS_CORES
    yield found if has_cores else msgspec.structs.replace(found, is_met=None)


def _life(report: Report) -> Iterator[Aim]:
    life = report.lifecycle
    platform = [process for name, process in life.idle.items() if name != "a pod"]
    yield _most("Deployment of known hashes until it answers", life.known_ms.median, 50, " ms")
    yield _most("A pod of a new hash until it answers", life.new_pod_s.median, 1, " s")
    yield _most("An idle version until it answers", life.wake_s.median, 1, " s")
    yield _most("Idle platform", sum(process.rss_mib for process in platform), 150, " MiB")
    yield _most("Idle pod", life.idle["a pod"].rss_mib, 40, " MiB")
    # Every 5 s nats-server pings each of its clients, and a pod sends a heartbeat to its driver.
    yield _most("Idle pod", life.idle["a pod"].wakeups_per_s, 0.5, " wake-ups a second")
    # In addition, watched buckets have heartbeats, and the lease is renewed every 3 s.
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
