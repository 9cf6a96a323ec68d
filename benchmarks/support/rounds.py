"""Contestants under the same load, in rounds that take turns.

What a machine does besides moves within seconds, so contestants are compared within a round: a
ratio is the median of the rounds' ratios. Rounds are short and many: two of the same make differ by
7 % in a round of 0.3 s, and by 1.4 % for as long as they live.
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
    """Something that serves HTTP on loopback.

    Attributes:
        name: For people.
        port: Where it listens.
        paths: Asked for in turn; each is answered with 200.
        processes: Process ids by what they do.
        baseline: Name of the contestant it is compared with.
        headers: Sent with each request.
    """

    name: str
    port: int
    paths: tuple[str, ...]
    processes: dict[str, tuple[int, ...]]
    baseline: str = ""
    headers: dict[str, str] = {}


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The middle of the rounds, the lowest and the highest.

    Attributes:
        median: Of all.
        low: Of all.
        high: Of all.
        error: Standard error of the middle, by how the starts differ; 0 where there was but one.
    """

    median: float
    low: float
    high: float
    error: float = 0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One contestant over all rounds.

    Attributes:
        name: Of the contestant.
        baseline: Of the ratios; empty when it has none.
        rate_per_s: Answers in a second.
        p50_us: Median latency.
        p99_us: 99th percentile.
        cpu_us: CPU of an answer in µs, by what the processes do.
        rate_ratio: To the baseline in the same round.
        p50_ratio: To the baseline in the same round.
        failures: Answers other than 200, in all rounds.
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
    """One contestant in one round."""

    outcome: Outcome
    cpu_s: dict[str, float]


class Sender(Protocol):
    """A load generator."""

    async def run(self, job: Job) -> Outcome:
        """Send what a job says and return what came back."""


class WrongAnswer(Exception):
    """A contestant does not do the work that it is measured at."""


async def check(contestants: Sequence[Contestant], body: bytes) -> None:
    """Ask each contestant once for each of its paths.

    Raises:
        WrongAnswer: The answer is not 200 with ``body``; the message holds it.
    """
    async with aiohttp.ClientSession() as session:
        for each in contestants:
            for path in each.paths:
                url = f"http://127.0.0.1:{each.port}{path}"
                async with session.get(url, headers=each.headers) as response:
                    found = await response.read()
                if (response.status, found) != (HTTPStatus.OK, body):
                    raise WrongAnswer(f"{each.name}: {path}: {response.status} {found!r}")


Rounds = dict[str, list[Round]]
"""What each contestant did, by its name."""


async def alternate(
    sender: Sender, contestants: Sequence[Contestant], load: Job, rounds: int
) -> Rounds:
    """Return what each contestant did under ``load``, after a warm-up of each.

    Args:
        sender: Of the load.
        contestants: Each round begins with another one.
        load: Its port, paths and headers are each contestant's.
        rounds: How many.
    """
    for each in contestants:
        await sender.run(job_for(each, load, duration_s=WARM_UP_S, rate_per_s=None))
    found: Rounds = {each.name: [] for each in contestants}
    for turn in range(rounds):
        first = turn % len(contestants)
        for each in (*contestants[first:], *contestants[:first]):
            found[each.name].append(await _round(sender, each, load))
    return found


def results(contestants: Sequence[Contestant], *played: Rounds) -> list[Result]:
    """Return what came of all rounds together.

    Args:
        contestants: Who took part.
        played: What ``alternate`` returned, perhaps for further starts of the same contestants.
    """
    return [_result(each, played) for each in contestants]


def job_for(contestant: Contestant, load: Job, **changes: object) -> Job:
    """Return the load aimed at a contestant."""
    return msgspec.structs.replace(
        load,
        port=contestant.port,
        paths=contestant.paths,
        headers=contestant.headers,
        **changes,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return median, lowest and highest."""
    return Spread(median=_short(median(values)), low=_short(min(values)), high=_short(max(values)))


async def _round(sender: Sender, contestant: Contestant, load: Job) -> Round:
    before = _cpu(contestant)
    outcome = await sender.run(job_for(contestant, load))
    after = _cpu(contestant)
    return Round(outcome=outcome, cpu_s={name: after[name] - before[name] for name in before})


def _cpu(contestant: Contestant) -> dict[str, float]:
    return {name: cpu_s(pids) for name, pids in contestant.processes.items()}


def _result(contestant: Contestant, played: Sequence[Rounds]) -> Result:
    own = [each for rounds in played for each in rounds[contestant.name]]
    answers = sum(each.outcome.answers for each in own)
    return Result(
        name=contestant.name,
        baseline=contestant.baseline,
        rate_per_s=spread([_rate(each) for each in own]),
        p50_us=spread([_p50(each) for each in own]),
        p99_us=spread([each.outcome.latencies.p99_us for each in own]),
        cpu_us={
            name: _short(sum(each.cpu_s[name] for each in own) * 1e6 / max(1, answers))
            for name in contestant.processes
        },
        rate_ratio=_ratios(contestant, played, _rate),
        p50_ratio=_ratios(contestant, played, _p50),
        failures=_sums([each.outcome.failures for each in own]),
    )


def _rate(found: Round) -> float:
    return found.outcome.rate_per_s


def _p50(found: Round) -> float:
    return found.outcome.latencies.p50_us


def _ratios(
    contestant: Contestant, played: Sequence[Rounds], value: Callable[[Round], float]
) -> Spread | None:
    starts = []
    for rounds in played:
        both = zip(rounds[contestant.name], rounds.get(contestant.baseline, ()), strict=False)
        starts.append([value(own) / value(base) for own, base in both if value(base)])
    middles = [median(each) for each in starts if each]
    if not middles:
        return None
    found = spread([ratio for each in starts for ratio in each])
    error = stdev(middles) / len(middles) ** 0.5 if len(middles) > 1 else 0
    return msgspec.structs.replace(found, error=_short(error))


def _sums(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for each in counts for name in each})
    return {name: sum(each.get(name, 0) for each in counts) for name in names}


def _short(value: float) -> float:
    """Return four digits that count: the noise is far above the fifth."""
    return float(f"{value:.4g}")
