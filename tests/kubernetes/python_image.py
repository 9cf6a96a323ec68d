"""An image whose Python has one more module than that of the lab."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.kubernetes.lab_cluster import LabCluster

MODULE = "team_words"
IMPORT = f"from {MODULE} import GREETING"
GREETING = "hello from the image"


def reference(number: int) -> str:
    """Return the reference of an image of the team; each number is another one."""
    return f"registry.lab/team/words@sha256:{number:064x}"


def add_image(cluster: LabCluster, image: str, folder: Path) -> None:
    """Add an image to the registry of the lab.

    Args:
        cluster: The lab.
        image: Its reference.
        folder: For its module; it must last as long as the pods of the image.
    """
    (folder / f"{MODULE}.py").write_text(f"GREETING = {GREETING!r}\n")
    script = f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n'
    cluster.images.add(image, {"python": script})
