"""The extent of a run."""

from __future__ import annotations

import msgspec


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """The extent of a run.

    Attributes:
        rounds: Number of rounds of loads and of floods.
        times: Offered loads, as multiples of the capacity.
        probe_s: Time in which the capacity is measured, before each load.
        load_s: Time of each load.
        victim_s: Time in which the victim is measured, alone and beside each flood.
        events: Emitted events of a neighbour that wait.
        repeats: How often each fault is made.
    """

    rounds: int
    times: tuple[float, ...]
    probe_s: float
    load_s: float
    victim_s: float
    events: int
    repeats: int


FULL = Effort(
    rounds=2,
    times=(0.5, 1, 2, 3, 4),
    probe_s=1,
    load_s=3,
    victim_s=3,
    events=2_000,
    repeats=3,
)
QUICK = Effort(
    rounds=1,
    times=(0.5, 2, 4),
    probe_s=1,
    load_s=1.5,
    victim_s=1.5,
    events=500,
    repeats=1,
)
