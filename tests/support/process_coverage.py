"""Coverage of the processes that tests start: only where their code is not run by another test.

A process that is measured takes 1.3 to 1.6 times the time to start and to work, and tests of whole
platforms start hundreds. The code that runs in processes only is that of the commands, of the
platform's start and of pods: the tests of ``fox`` and ``pods`` run it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
UNMEASURED = (
    "benchmarks",
    "control/api/test_fuzz.py",
    "docs",
    "e2e",
    "examples",
    "faults",
    "security",
)
"""Folders and files below ``tests/`` whose processes are not measured."""

_CONFIG = "COVERAGE_PROCESS_CONFIG"
"""Variable by which coverage.py begins in a process that starts."""


class ProcessCoverage:
    """Sets and removes the variable before each test; set up by ``pytest_configure``.

    Args:
        config: Value of the variable; empty without coverage.
    """

    def __init__(self, config: str) -> None:
        self._config = config
        self._unmeasured = [TESTS / name for name in UNMEASURED]

    # Before the fixtures of the test: they start processes too.
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let the processes of this test be measured, or not."""
        if any(item.path.is_relative_to(path) for path in self._unmeasured):
            os.environ.pop(_CONFIG, None)
        else:
            os.environ[_CONFIG] = self._config


def pytest_configure(config: pytest.Config) -> None:
    """Begin if coverage is on."""
    if given := os.environ.get(_CONFIG):
        config.pluginmanager.register(ProcessCoverage(given), "process_coverage")
