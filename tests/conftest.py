"""Fixtures and settings of every test: uvloop, a real nats-server, reproducible examples."""

from __future__ import annotations

import os
import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator

import pytest
import uvloop
from hypothesis import settings

pytest_plugins = [
    "tests.support.blocking",
    "tests.support.nats",
    "tests.support.network",
    "tests.support.process_coverage",
    "tests.support.repository",
    "tests.support.slow",
    "tests.support.time_limit",
    # Last: it imports others, whose assertions are rewritten only before that.
    "tests.support.fixtures",
]

# The same examples on every run, so that a failure is the change's; HYPOTHESIS_PROFILE=search
# looks for new ones.
settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure() -> None:
    """Let the programs that tests start end with Ctrl-C, and keep what they compile.

    A shell starts background commands with SIGINT ignored, which their programs inherit. Where no
    bytecode may be written, each of the hundreds of processes would compile the platform again.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the registry of running platforms out of the user's home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Run async tests on the loop that the platform runs on."""
    return {"uvloop": uvloop.new_event_loop}
