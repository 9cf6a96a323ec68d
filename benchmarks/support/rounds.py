"""Contestants under the same load, in alternating rounds.

Other load on the machine changes within seconds, so contestants are compared within a round: a
ratio is the median of the rounds' ratios. There are many short rounds. Two equal contestants differ
by 7 % in a round of 0.3 s, and by 1.4 % over all rounds of one start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from statistics import median, stdev
from typing import Protocol

import aiohttp
import msgspec

from benchmarks.support.job import Job, Outcome
from benchmarks.support.programs import cpu_s

WARM_UP_S = 0.2


class Contestant(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP server on loopback.

    Attributes:
        name: Name in the report.
        port: Port of the server.
        paths: Paths that are requested one after another; each is answered with 200.
        processes: Process ids by role.
        baseline: Name of the contestant that it is compared with.
        headers: Headers of each request.
    """

    name: str
    port: int
    paths: tuple[str, ...]
    processes: dict[str, tuple[int, ...]]
    baseline: str = ""
    headers: dict[str, str] = {}


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Median, lowest and highest value of the rounds.

    Attributes:
        median: Median of all rounds.
        low: Lowest value of all rounds.
        high: Highest value of all rounds.
        error: Standard error of the median, from the differences between starts; 0 for one start.
    """

    median: float
    low: float
    high: float
    error: float = 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one contestant over all rounds.

    Attributes:
        name: Name of the contestant.
        baseline: Name of the baseline of the ratios, or empty.
        rate_per_s: Answers in a second.
        p50_us: Median latency.
        p99_us: 99th percentile of the latency.
        cpu_us: CPU time of an answer in µs, by role of the process.
        rate_ratio: Ratio to the baseline in the same round.
        p50_ratio: Ratio to the baseline in the same round.
        failures: Number of failed answers in all rounds, by status; see ``Outcome``.
    """

    name: str
    baseline: str
    rate_per_s: Spread
    p50_us: Spread
    p99_us: Spread
    cpu_us: dict[str, float]
    rate_ratio: Spread | None = None
    p50_ratio: Spread | None = None
    failures: dict[str, int] = {}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one contestant in one round."""

    outcome: Outcome
    cpu_s: dict[str, float]


class Sender(Protocol):
    """A load generator."""

    async def run(self, job: Job) -> Outcome:
        """Send the requests of a job, and return the outcome."""


class WrongAnswer(Exception):
    """A contestant does not answer as expected."""


async def check(contestants: Sequence[Contestant], body: bytes) -> None:
    """Request each path of each contestant once.

    Raises:
        WrongAnswer: An answer is not 200 with ``body``; the message holds the answer.
    """
    async with aiohttp.ClientSession() as session:
        for contestant in contestants:
            for path in contestant.paths:
                url = f"http://127.0.0.1:{contestant.port}{path}"
                async with session.get(url, headers=contestant.headers) as response:
                    found = await response.read()
                if (response.status, found) != (HTTPStatus.OK, body):
                    raise WrongAnswer(f"{contestant.name}: {path}: {response.status} {found!r}")


Rounds = dict[str, list[Round]]
"""The rounds of each contestant, by its name."""


async def alternate(
    sender: Sender, contestants: Sequence[Contestant], load: Job, rounds: int
) -> Rounds:
    """Apply a load to the contestants in alternation, after a warm-up of each.

    Args:
        sender: Sends the load.
        contestants: The contestants; each round begins with another one.
        load: The load; port, paths and headers are set for each contestant.
        rounds: Number of rounds.
    """
    for contestant in contestants:
        await sender.run(job_for(contestant, load, duration_s=WARM_UP_S, rate_per_s=None))
    found: Rounds = {contestant.name: [] for contestant in contestants}
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            found[contestant.name].append(await _round(sender, contestant, load))
    return found


def results(contestants: Sequence[Contestant], *starts: Rounds) -> list[Result]:
    """Return the results over all rounds.

    Args:
        contestants: The contestants.
        starts: Results of ``alternate``, one for each start of the contestants.
    """
    return [_result(contestant, starts) for contestant in contestants]


def job_for(contestant: Contestant, load: Job, **changes: object) -> Job:
    """Return the load for one contestant."""
    return msgspec.structs.replace(
        load,
        port=contestant.port,
        paths=contestant.paths,
        headers=contestant.headers,
        **changes,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest value."""
    return Spread(median=_short(median(values)), low=_short(min(values)), high=_short(max(values)))


async def _round(sender: Sender, contestant: Contestant, load: Job) -> Round:
    before = _cpu(contestant)
    outcome = await sender.run(job_for(contestant, load))
    after = _cpu(contestant)
    return Round(outcome=outcome, cpu_s={name: after[name] - before[name] for name in before})


def _cpu(contestant: Contestant) -> dict[str, float]:
    return {name: cpu_s(pids) for name, pids in contestant.processes.items()}


def _result(contestant: Contestant, starts: Sequence[Rounds]) -> Result:
    own = [one for rounds in starts for one in rounds[contestant.name]]
    answers = sum(played_round.outcome.answers for played_round in own)
    return Result(
        name=contestant.name,
        baseline=contestant.baseline,
        rate_per_s=spread([_rate(played_round) for played_round in own]),
        p50_us=spread([_p50(played_round) for played_round in own]),
        p99_us=spread([played_round.outcome.latencies.p99_us for played_round in own]),
        cpu_us={
            name: _short(
                sum(played_round.cpu_s[name] for played_round in own) * 1e6 / max(1, answers)
            )
            for name in contestant.processes
        },
        rate_ratio=_ratios(contestant, starts, _rate),
        p50_ratio=_ratios(contestant, starts, _p50),
        failures=_sums([played_round.outcome.failures for played_round in own]),
    )


def _rate(found: Round) -> float:
    return found.outcome.rate_per_s


def _p50(found: Round) -> float:
    return found.outcome.latencies.p50_us


def _ratios(
    contestant: Contestant, starts: Sequence[Rounds], value: Callable[[Round], float]
) -> Spread | None:
    start_ratios = []
    for rounds in starts:
        both = zip(rounds[contestant.name], rounds.get(contestant.baseline, ()), strict=False)
        start_ratios.append([value(own) / value(base) for own, base in both if value(base)])
    middles = [median(ratios) for ratios in start_ratios if ratios]
    if not middles:
        return None
    found = spread([ratio for ratios in start_ratios for ratio in ratios])
    error = stdev(middles) / len(middles) ** 0.5 if len(middles) > 1 else 0
    return msgspec.structs.replace(found, error=_short(error))


def _sums(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for count in counts for name in count})
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _short(value: float) -> float:
    """Round to four significant digits: the noise is far above the fifth."""
    return float(f"{value:.4g}")
