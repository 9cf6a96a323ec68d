"""Fixtures and settings of every test: uvloop, a real nats-server, reproducible examples."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable

import uvloop
from hypothesis import settings

pytest_plugins = [
    "tests.support.blocking",
    "tests.support.nats",
    "tests.support.repository",
    "tests.support.time_limit",
]

# The same examples on every run, so that a failure is the change's; HYPOTHESIS_PROFILE=search
# looks for new ones.
settings.register_profile("ci", max_examples=50, derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], AbstractEventLoop]]:
    """Run async tests on the loop that the platform runs on."""
    return {"uvloop": uvloop.new_event_loop}
