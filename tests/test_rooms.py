"""The map of the rooms in docs/architecture.md names every module, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("model", "routing", "broker", "adapters", "pods", "fox")


def named(room: str) -> set[str]:
    """Return what the map names in a room; folders end with a slash."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = text.partition("\n## Rooms\n")[2].partition("```")[2].partition("```")[0]
    of_room = re.split(r"^(\w+)/", drawn, flags=re.MULTILINE)
    words = dict(zip(of_room[1::2], of_room[2::2], strict=True))[room]
    return set(re.findall(r"\w+/?", re.sub(r"\([^)]*\)", "", words)))


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_names_what_is_there(room: str) -> None:
    modules = {each.stem for each in (ROOT / room).glob("*.py")} - {"__init__"}
    folders = {f"{each.parent.name}/" for each in (ROOT / room).glob("*/__init__.py")}

    assert named(room) == modules | folders
