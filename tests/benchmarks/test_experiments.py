"""An experiment combines the rounds of all starts; experiments keep the order of their loads."""

from __future__ import annotations

import pytest
from aiohttp import web

from benchmarks.e2e.experiments import ExperimentRunner
from benchmarks.support.job import Job
from benchmarks.support.load import open_generator
from benchmarks.support.rounds import WrongAnswer
from tests.benchmarks.test_load import answer, serving
from tests.benchmarks.test_rounds import contestant

LOAD = Job(port=0, paths=(), connections=2, duration_s=60, max_answers=20)


async def test_an_experiment_combines_all_starts() -> None:
    async with open_generator() as generator, serving(answer) as port:
        runner = ExperimentRunner(generator, rounds=2)
        for _ in range(3):
            await runner.apply("one", "One load", [contestant("bare", port)], LOAD)
            await runner.apply("two", "Another", [contestant("bare", port)], LOAD)

    first = runner.first("one")
    one, two = runner.experiments
    assert [(found.name, found.rounds) for found in (first, one, two)] == [
        ("one", 2),
        ("one", 6),
        ("two", 6),
    ]
    lows = [found.of("bare").rate_per_s.low for found in (one, first)]
    assert lows == sorted(lows)
    assert one.of("bare").failures == {}


async def test_a_contestant_with_a_wrong_answer_is_not_measured() -> None:
    async def answer_less(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x")

    async with open_generator() as generator, serving(answer_less) as port:
        runner = ExperimentRunner(generator, rounds=1)
        with pytest.raises(WrongAnswer, match="lazy"):
            await runner.apply("one", "One load", [contestant("lazy", port)], LOAD)

    assert runner.experiments == ()
