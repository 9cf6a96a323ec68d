"""What lies in a folder."""

from __future__ import annotations

from pathlib import Path


def names(folder: Path) -> set[str]:
    """Return the names of what lies directly in ``folder``."""
    return {path.name for path in folder.iterdir()}
