"""What came of a load is told over all starts, in the order in which loads were first applied."""

from __future__ import annotations

import pytest
from aiohttp import web

from benchmarks.e2e.experiments import Notebook
from benchmarks.support.job import Job
from benchmarks.support.load import open_generator
from benchmarks.support.rounds import WrongAnswer
from tests.benchmarks.test_load import answer, serving
from tests.benchmarks.test_rounds import contestant

LOAD = Job(port=0, paths=(), connections=2, duration_s=0.05)


async def test_a_load_is_told_over_all_starts_and_for_the_first_one() -> None:
    async with open_generator() as generator, serving(answer) as port:
        notebook = Notebook(generator, rounds=2)
        for _ in range(3):
            await notebook.play("one", "One load", [contestant("bare", port)], LOAD)
            await notebook.play("two", "Another", [contestant("bare", port)], LOAD)

    first = notebook.first("one")
    one, two = notebook.experiments
    assert [(each.name, each.rounds) for each in (first, one, two)] == [
        ("one", 2),
        ("one", 6),
        ("two", 6),
    ]
    lows = [each.of("bare").rate_per_s.low for each in (one, first)]
    assert lows == sorted(lows)
    assert one.of("bare").failures == {}


async def test_whoever_does_other_work_is_not_measured() -> None:
    async def answer_less(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x")

    async with open_generator() as generator, serving(answer_less) as port:
        notebook = Notebook(generator, rounds=1)
        with pytest.raises(WrongAnswer, match="lazy"):
            await notebook.play("one", "One load", [contestant("lazy", port)], LOAD)

    assert notebook.experiments == ()
