import time

import pytest
from blockbuster import BlockingError

import broker

# What blocks here has a frame of the platform on its stack, as its own code would.
BLOCKS = compile("time.sleep(0)", str(broker.__file__), "exec")


async def test_a_blocking_call_of_the_platform_in_the_event_loop_fails() -> None:
    with pytest.raises(BlockingError):
        exec(BLOCKS, {"time": time})  # noqa: S102


def test_a_blocking_call_outside_the_event_loop_is_free() -> None:
    exec(BLOCKS, {"time": time})  # noqa: S102
