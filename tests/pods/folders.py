"""The content of a folder."""

from __future__ import annotations

from pathlib import Path


def names(folder: Path) -> set[str]:
    """Return the names of the files and folders in ``folder``."""
    return {path.name for path in folder.iterdir()}
