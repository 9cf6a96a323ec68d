"""New versions of an app, so that tests can share a platform.

Pods, their restarts, and all that the platform has learned of a component belong to the hash of its
code: a test that deploys new hashes finds none of what the tests before it did.
"""

from __future__ import annotations

import itertools
from pathlib import Path

_numbers = itertools.count(1)


def change_hashes(folder: Path) -> None:
    """Change the code of each component of an app by a comment."""
    number = next(_numbers)
    for main in folder.glob("components/*/main.py"):
        main.write_text(f"{main.read_text()}# version {number}\n")
