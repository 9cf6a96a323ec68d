import time
from pathlib import Path

import pytest
from blockbuster import BlockingError

import broker


async def test_a_blocking_call_of_the_platform_in_the_event_loop_fails() -> None:
    of_the_platform = str(Path(broker.__path__[0], "example.py"))
    code = compile("time.sleep(0)", of_the_platform, "exec")

    with pytest.raises(BlockingError):
        exec(code, {"time": time})  # noqa: S102 - gives the call a frame of the platform


def test_a_blocking_call_outside_the_event_loop_is_free() -> None:
    of_the_platform = str(Path(broker.__path__[0], "example.py"))
    code = compile("time.sleep(0)", of_the_platform, "exec")

    exec(code, {"time": time})  # noqa: S102 - gives the call a frame of the platform
