"""``make demo`` runs every chapter of the story."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo.narrator import Narrator, Unexpected

PROJECT = Path(__file__).parents[2]
CHAPTERS = 8


async def test_the_demo_passes_and_leaves_no_files(tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo",
        cwd=PROJECT,
        env=os.environ | {"DEMO_ONCE": "1", "DEMO_HTTP_PORT": "0", "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await demo.communicate()

    text = printed.decode()
    assert demo.returncode == 0, text
    assert f"\n{CHAPTERS}. " in text
    assert "✗" not in text
    assert list(tmp_path.iterdir()) == []


def test_the_demo_ends_at_the_first_failed_expectation() -> None:
    narrator = Narrator(Console(quiet=True))

    narrator.expect(True, "the sky is above")
    with pytest.raises(Unexpected, match=r"(?s)the sky is green.*blue"):
        narrator.expect(False, "the sky is green", "blue")
