"""``fox`` is the one public face of the kit."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fox
from fox import errors
from kubefox.errors import FoxError


@pytest.mark.parametrize(
    "program",
    [
        "from fox import Context, Kit, Response, ServerSentEvent",
        "from fox import errors, testing",
        "import fox; fox.errors.RevisionConflict; fox.testing.TestClient; fox.Kit",
        "from fox.errors import RevisionConflict",
        "from fox.testing import TestClient",
        "from fox import *; Kit, errors.FoxError, testing.TestClient",
    ],
)
def test_public_names_can_be_imported(program: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=30)


def test_public_names_are_sorted_and_exist() -> None:
    assert fox.__all__ == sorted(fox.__all__)
    assert all(getattr(fox, name) is not None for name in fox.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fox' has no attribute 'Kitt'"):
        _ = fox.Kitt


def test_errors_are_sorted_classes_of_one_tree() -> None:
    assert errors.__all__ == sorted(errors.__all__)
    assert all(issubclass(getattr(errors, name), FoxError) for name in errors.__all__)


def test_importing_fox_loads_no_module_of_the_kit() -> None:
    program = "import sys, fox; sys.exit(str([m for m in sys.modules if m.startswith('fox.')]))"

    done = subprocess.run([sys.executable, "-c", program], stderr=-1, text=True, check=False)

    assert done.stderr.strip() == "[]"
