"""The results of each load, over all starts of the contestants."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from benchmarks.e2e.bare import BODY
from benchmarks.support.job import Job
from benchmarks.support.rounds import Contestant, Result, Rounds, Sender, alternate, check, results


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One load and its results.

    Attributes:
        name: Name of the load in the report.
        title: Title in the page.
        load: The load, without port and paths.
        rounds: Number of rounds, over all starts.
        results: One result for each contestant.
    """

    name: str
    title: str
    load: Job
    rounds: int
    results: tuple[Result, ...]

    def of(self, name: str) -> Result:
        """Return the result of the contestant called ``name``."""
        return next(result for result in self.results if result.name == name)


class _Applied(msgspec.Struct):
    """One load, and its rounds in each start so far."""

    title: str
    load: Job
    contestants: Sequence[Contestant]
    starts: list[Rounds]


class ExperimentRunner:
    """Applies loads, and collects the results of all starts.

    Args:
        sender: Default load generator.
        rounds: Number of rounds of each load in each start.
    """

    def __init__(self, sender: Sender, rounds: int) -> None:
        self._sender = sender
        self._rounds = rounds
        self._applied: dict[str, _Applied] = {}

    async def apply(
        self,
        name: str,
        title: str,
        contestants: Sequence[Contestant],
        load: Job,
        sender: Sender | None = None,
    ) -> None:
        """Apply a load to the contestants of one start, after a check of their answers.

        Args:
            name: Name of the load. Name, title and load are the same in every start.
            title: Title in the page.
            contestants: The contestants; their names are the same in every start.
            load: The load; port and paths are set for each contestant.
            sender: Load generator, in place of the default one.
        """
        print(f"  {title} …", file=sys.stderr, flush=True)
        await check(contestants, BODY)
        applied = self._applied.setdefault(name, _Applied(title, load, contestants, []))
        sender = sender or self._sender
        applied.starts.append(await alternate(sender, contestants, load, self._rounds))

    def first(self, name: str) -> Experiment:
        """Return the results of one load in the first start."""
        return self._experiment(name, self._applied[name].starts[:1])

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The results of every load, in the order in which the loads were first applied."""
        return tuple(
            self._experiment(name, applied.starts) for name, applied in self._applied.items()
        )

    def _experiment(self, name: str, starts: Sequence[Rounds]) -> Experiment:
        applied = self._applied[name]
        return Experiment(
            name=name,
            title=applied.title,
            load=applied.load,
            rounds=len(starts) * self._rounds,
            results=tuple(results(applied.contestants, *starts)),
        )
