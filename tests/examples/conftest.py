"""The components of the Order App, each version as a kit in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.order_app import VERSIONS, lay_out
from fox import Kit
from fox.kit.loader import load_kit

Load = Callable[[str, str], Kit]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Return a function that loads a component at a version; its modules are removed afterwards."""
    path, modules = list(sys.path), set(sys.modules)

    def load_version(version: str, component: str) -> Kit:
        bundle = tmp_path / version
        for earlier in [name for name in VERSIONS if name <= version]:
            lay_out(earlier, bundle)
        return load_kit(bundle, component, "main.py")

    yield load_version
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and Path(origin).is_relative_to(tmp_path):
            del sys.modules[name]
