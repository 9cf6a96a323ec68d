"""Decide how many pods a version needs by its load, with the idea of Knative's autoscaler.

Two windows look at the events in flight. The *stable* window (60 s) gives the usual number. If the
*panic* window (6 s) asks for at least twice the ready pods, the version panics: until the panic has
been over for a stable window, the number only grows. A lower number takes effect only when no
higher one was wanted for the scale-down delay. Events that wait before a pod reads them ask for one
pod more than are ready: their pods are busy, whatever the number in flight.

https://github.com/knative/serving/blob/main/docs/scaling/SYSTEM.md describes the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import msgspec

from kubefox.scaling import Replicas

_ROUNDING = 1e-9


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """The times of an autoscaler, in seconds.

    Attributes:
        stable_s: Length of the stable window.
        panic_s: Length of the panic window.
        panic_threshold: The version panics when it needs so many times its ready pods.
        scale_down_delay_s: How long a lower number must be enough before it takes effect.
        max_wait_s: Mean time for which events may wait for a pod.
        sample_s: Time between two samples.
    """

    stable_s: float = 60
    panic_s: float = 6
    panic_threshold: float = 2
    scale_down_delay_s: float = 30
    max_wait_s: float = 0.1
    sample_s: float = 1


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The load of one version at one time.

    Attributes:
        at_s: The time, on any clock.
        in_flight: Events in flight at all pods together.
        waited_s: How long an event waits until a pod reads it; of the slowest pod.
        ready: Number of ready pods, at least 1.
    """

    at_s: float
    in_flight: float
    waited_s: float = 0
    ready: int = 1


class Autoscaling(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of the autoscaler for one version.

    Attributes:
        samples: Those in the stable window, oldest first.
        wanted: Time and number of the decisions in the scale-down delay, oldest first.
        panic_end_s: Until when the version panics; None while it does not.
        panic_count: The highest number since the panic began.
    """

    samples: tuple[Sample, ...] = ()
    wanted: tuple[tuple[float, int], ...] = ()
    panic_end_s: float | None = None
    panic_count: int = 0


def decide(
    state: Autoscaling, sample: Sample, limits: Replicas, windows: Windows
) -> tuple[Autoscaling, int]:
    """Return the next state, and how many pods the version needs.

    Args:
        state: Of the decision before.
        sample: Not earlier than the samples in ``state``.
        limits: The limits of the version.
        windows: The times.
    """
    now_s = sample.at_s
    samples = (*_since(state.samples, now_s - windows.stable_s), sample)
    recent = _since(samples, now_s - windows.panic_s)
    stable, panic = _needed(samples, limits), _needed(recent, limits)
    if _mean([sample.waited_s for sample in recent]) > windows.max_wait_s:
        stable, panic = max(stable, sample.ready + 1), max(panic, sample.ready + 1)
    panic_end_s, panic_count = state.panic_end_s, state.panic_count
    if panic >= windows.panic_threshold * sample.ready:
        panic_end_s = now_s + windows.stable_s
    elif panic_end_s is not None and now_s >= panic_end_s:
        panic_end_s = None
    panic_count = 0 if panic_end_s is None else max(panic_count, panic, stable)
    count = limits.clamp(max(stable, panic_count))
    wanted = (
        *(past for past in state.wanted if past[0] > now_s - windows.scale_down_delay_s),
        (now_s, count),
    )
    state = Autoscaling(
        samples=samples, wanted=wanted, panic_end_s=panic_end_s, panic_count=panic_count
    )
    return state, limits.clamp(max(number for _, number in wanted))


def _since(samples: Sequence[Sample], start_s: float) -> list[Sample]:
    return [sample for sample in samples if sample.at_s > start_s]


def _needed(samples: Sequence[Sample], limits: Replicas) -> int:
    """Return the pods that the mean of the events in flight needs."""
    mean = _mean([sample.in_flight for sample in samples])
    return ceil(mean / limits.target_in_flight - _ROUNDING)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
