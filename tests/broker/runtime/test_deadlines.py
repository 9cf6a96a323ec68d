"""Many deadlines with one timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.deadlines import Deadlines


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_deadlines_expire_in_order() -> None:
    expired: list[str] = []
    deadlines = Deadlines(expired.append)

    deadlines.set("late", 0.03)
    deadlines.set("soon", 0.01)
    deadlines.set("never", 60)
    await until(lambda: len(expired) == 2)

    assert expired == ["soon", "late"]
    assert len(deadlines) == 1


async def test_deadlines_that_pass_while_the_loop_is_held_expire_in_order() -> None:
    expired: list[str] = []
    deadlines = Deadlines(expired.append)

    deadlines.set("late", 0.002)
    deadlines.set("soon", 0.001)
    time.sleep(0.01)  # noqa: ASYNC251 - a handler that computes
    await until(lambda: len(expired) == 2)

    assert expired == ["soon", "late"]


async def test_a_cancelled_deadline_does_not_expire() -> None:
    expired: list[str] = []
    deadlines = Deadlines(expired.append)

    deadlines.set("done", 0.001)
    deadlines.set("open", 0.005)
    deadlines.cancel("done")
    deadlines.cancel("unknown")
    await until(lambda: expired)

    assert expired == ["open"]


async def test_a_deadline_set_while_others_expire_also_expires() -> None:
    expired: list[int] = []

    def expire(number: int) -> None:
        expired.append(number)
        if number < 3:
            deadlines.set(number + 1, 0.001)

    deadlines = Deadlines(expire)
    deadlines.set(1, 0)
    await until(lambda: len(expired) == 3)

    assert expired == [1, 2, 3]


async def test_a_deadline_cancelled_while_another_expires_does_not_expire() -> None:
    expired: list[str] = []

    def expire(key: str) -> None:
        expired.append(key)
        deadlines.cancel("b")

    deadlines = Deadlines(expire)
    deadlines.set("a", 0)
    deadlines.set("b", 0)
    deadlines.set("c", 0.005)
    await until(lambda: len(expired) == 2)

    assert expired == ["a", "c"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.booleans()), max_size=30))
def test_exactly_the_deadlines_that_were_not_cancelled_expire(
    steps: list[tuple[int, int, bool]],
) -> None:
    async def run() -> tuple[list[int], set[int]]:
        expired: list[int] = []
        open_: set[int] = set()
        deadlines = Deadlines(expired.append)
        for key, milliseconds, is_set in steps:
            if is_set:
                deadlines.set(key, milliseconds / 1000)
                open_.add(key)
            else:
                deadlines.cancel(key)
                open_.discard(key)
        await until(lambda: not len(deadlines))
        return expired, open_

    expired, open_ = asyncio.run(run())

    assert sorted(expired) == sorted(open_)
