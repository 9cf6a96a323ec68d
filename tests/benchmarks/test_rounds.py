"""Contestants alternate; the results are medians, spreads and ratios."""

from __future__ import annotations

import os

import pytest

from benchmarks.support.job import Job, Outcome
from benchmarks.support.latency import Latencies
from benchmarks.support.rounds import Contestant, WrongAnswer, alternate, check, results, spread
from tests.benchmarks.test_load import answer, serving

LOAD = Job(port=0, paths=(), duration_s=0.1)


class Recorded:
    """Sends nothing: contestant ``port`` answers ``port`` times as often in each later round."""

    def __init__(self) -> None:
        self.ports: list[int] = []

    async def run(self, job: Job) -> Outcome:
        self.ports.append(job.port)
        times = self.ports.count(job.port)
        p50_us = 100.0 * job.port
        return Outcome(
            answers=job.port * times, seconds=1, latencies=Latencies(p50_us=p50_us, p99_us=200)
        )


def contestant(name: str, port: int, baseline: str = "") -> Contestant:
    return Contestant(
        name=name,
        port=port,
        paths=("/",),
        processes={"server": (os.getpid(),)},
        baseline=baseline,
    )


async def test_each_round_begins_with_another_contestant_after_a_warm_up_of_all() -> None:
    sender = Recorded()

    await alternate(sender, [contestant("a", 1), contestant("b", 2)], LOAD, rounds=2)

    assert sender.ports == [1, 2, 1, 2, 2, 1]


async def test_ratios_compare_within_a_round() -> None:
    contestants = [contestant("floor", 10), contestant("own", 5, baseline="floor")]

    floor, own = results(contestants, await alternate(Recorded(), contestants, LOAD, rounds=3))

    assert floor.rate_ratio is None
    assert own.rate_ratio == spread([0.5, 0.5, 0.5])
    assert own.p50_ratio == spread([0.5, 0.5, 0.5])
    assert (own.rate_per_s.low, own.rate_per_s.median, own.rate_per_s.high) == (10, 15, 20)
    assert own.cpu_us["server"] >= 0


async def test_results_combine_the_rounds_of_several_starts() -> None:
    contestants = [contestant("floor", 10), contestant("own", 5, baseline="floor")]
    sender = Recorded()
    played = [await alternate(sender, contestants, LOAD, rounds=2) for _ in range(2)]

    floor, own = results(contestants, *played)

    assert [len(rounds["own"]) for rounds in played] == [2, 2]
    assert own.rate_ratio == spread([0.5])
    assert floor.rate_per_s.high > spread([x.outcome.rate_per_s for x in played[0]["floor"]]).high


async def test_a_contestant_with_the_right_answer_passes_the_check() -> None:
    async with serving(answer) as port:
        await check([contestant("bare", port)], b"x" * 512)


async def test_a_contestant_with_another_body_fails_the_check() -> None:
    async with serving(answer) as port:
        with pytest.raises(WrongAnswer, match="bare: /: 200 b'xxx"):
            await check([contestant("bare", port)], b"y" * 512)
