import threading
import time

import pytest
from blockbuster import BlockingError

import broker
from tests.support.blocking import COVERAGE_LOCK

# These calls have a frame of the platform on their stack, as code of the platform has.
BLOCKS = compile("time.sleep(0)", str(broker.__file__), "exec")
CALLS = compile("lock_data()", str(broker.__file__), "exec")


async def test_a_blocking_call_of_the_platform_in_the_event_loop_fails() -> None:
    with pytest.raises(BlockingError):
        exec(BLOCKS, {"time": time})  # noqa: S102


def test_a_blocking_call_outside_the_event_loop_is_free() -> None:
    exec(BLOCKS, {"time": time})  # noqa: S102


async def test_the_lock_of_coverage_may_be_waited_for() -> None:
    file, function = COVERAGE_LOCK
    held = threading.Lock()
    held.acquire()
    found = {"held": held}
    code = compile(f"def {function}(): held.acquire(timeout=0.001)", file, "exec")
    exec(code, found)  # noqa: S102

    exec(CALLS, {function: found[function]})  # noqa: S102


async def test_any_other_lock_that_is_held_fails() -> None:
    held = threading.Lock()
    held.acquire()

    with pytest.raises(BlockingError):
        exec(CALLS, {"lock_data": lambda: held.acquire(timeout=0.001)})  # noqa: S102
