"""``make demo`` tells the whole story."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo.telling import Teller, Unexpected

PROJECT = Path(__file__).parents[2]
CHAPTERS = 8


# It waits for many processes to start, which a busy machine does slowly.
@pytest.mark.timeout(180)
async def test_the_story_comes_true_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.demo",
        cwd=PROJECT,
        env=os.environ | {"DEMO_ONCE": "1", "DEMO_HTTP_PORT": "0", "TMPDIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await demo.communicate()

    text = said.decode()
    assert demo.returncode == 0, text
    assert f"\n{CHAPTERS}. " in text
    assert "✗" not in text
    assert list(tmp_path.iterdir()) == []


def test_the_story_ends_at_the_first_thing_that_is_not_so() -> None:
    tell = Teller(Console(quiet=True))

    tell.expect(True, "the sky is above")
    with pytest.raises(Unexpected, match=r"(?s)the sky is green.*blue"):
        tell.expect(False, "the sky is green", "blue")
