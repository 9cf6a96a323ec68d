import asyncio

import pytest

from tests.support.time_limit import limited


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_hanging_test_fails_at_the_line_where_it_hangs() -> None:
    with pytest.raises(TimeoutError) as caught:
        await limited(hang, 0.01)()

    cancelled = caught.value.__cause__
    assert isinstance(cancelled, asyncio.CancelledError)
    assert "hang" in [
        entry.name for entry in pytest.ExceptionInfo.from_exception(cancelled).traceback
    ]


def test_every_async_test_has_a_limit(request: pytest.FixtureRequest) -> None:
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    hanging = next(test for test in tests if "hanging_test_fails" in test.name)

    assert hasattr(hanging.obj, "__wrapped__")
