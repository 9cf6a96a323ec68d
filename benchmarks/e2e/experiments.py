"""What came of each load, over all starts of the contestants."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from benchmarks.e2e.bare import BODY
from benchmarks.support.job import Job
from benchmarks.support.rounds import Contestant, Result, Rounds, Sender, alternate, check, results


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One load and what came of it.

    Attributes:
        name: For links.
        title: For people.
        load: Without port and paths.
        rounds: How many, over all starts.
        results: Of each contestant.
    """

    name: str
    title: str
    load: Job
    rounds: int
    results: tuple[Result, ...]

    def of(self, name: str) -> Result:
        """Return one contestant's result."""
        return next(each for each in self.results if each.name == name)


class _Played(msgspec.Struct):
    """One load, and its rounds of each start until now."""

    title: str
    load: Job
    contestants: Sequence[Contestant]
    starts: list[Rounds]


class Notebook:
    """Applies loads, and keeps what came of them until the last start.

    Args:
        sender: Of every load that brings no sender of its own.
        rounds: Of each load in each start.
    """

    def __init__(self, sender: Sender, rounds: int) -> None:
        """Start with nothing played."""
        self._sender = sender
        self._rounds = rounds
        self._played: dict[str, _Played] = {}

    async def play(
        self,
        name: str,
        title: str,
        contestants: Sequence[Contestant],
        load: Job,
        sender: Sender | None = None,
    ) -> None:
        """Apply a load to the contestants of one start, after each has answered as it should.

        Args:
            name: The same in every start, as are title and load.
            title: For people.
            contestants: The same by their names in every start.
            load: Its port and paths are each contestant's.
            sender: Another one than usual.
        """
        print(f"  {title} …", file=sys.stderr, flush=True)
        await check(contestants, BODY)
        played = self._played.setdefault(name, _Played(title, load, contestants, []))
        sender = sender or self._sender
        played.starts.append(await alternate(sender, contestants, load, self._rounds))

    def first(self, name: str) -> Experiment:
        """Return what came of one load in the first start."""
        return self._experiment(name, self._played[name].starts[:1])

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """What came of every load, in the order in which they were first applied."""
        return tuple(self._experiment(name, each.starts) for name, each in self._played.items())

    def _experiment(self, name: str, starts: Sequence[Rounds]) -> Experiment:
        played = self._played[name]
        return Experiment(
            name=name,
            title=played.title,
            load=played.load,
            rounds=len(starts) * self._rounds,
            results=tuple(results(played.contestants, *starts)),
        )
