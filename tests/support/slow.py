"""Marks tests as slow: those of whole platforms, commands, many processes or random examples.

``make test-fast`` leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
SLOW = (
    "adapters",
    "benchmarks",
    "broker/nats",
    "docs",
    "e2e",
    "examples",
    "faults",
    "fox",
    "kubernetes",
    "pods",
    "routing/test_against_reference.py",
    "routing/test_bounded_work.py",
    "security",
    "test_full_disk.py",
)
"""Folders and files below ``tests/``."""


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark every test below ``SLOW``."""
    paths = [TESTS / name for name in SLOW]
    for item in items:
        if any(item.path.is_relative_to(path) for path in paths):
            item.add_marker(pytest.mark.slow)
