"""The commands and the component of README work as it describes."""

from __future__ import annotations

import re
from pathlib import Path

from examples.demo.platform import Platform
from fox import Context
from fox.testing import TestClient
from tests.e2e.documents import PROJECT, blocks, kit_of, run_script

README = (PROJECT / "README.md").read_text()
TOUR = README.partition("## Five-minute tour")[2].partition("\n## ")[0]


async def test_every_command_of_the_tour_works(tmp_path: Path) -> None:
    first_terminal, *second_terminal = blocks(TOUR, "sh")
    assert first_terminal.splitlines() == ["make setup && . .venv/bin/activate", "fox up"]

    async with Platform(tmp_path / "data") as platform:
        script = "".join(second_terminal)
        script = script.replace(". .venv/bin/activate\n", "")
        script = script.replace("/tmp/order-app", str(tmp_path / "order-app"))
        script = script.replace("http://127.0.0.1:8080", platform.http_url)
        text = await run_script(script, cwd=PROJECT, FOX_CONTROL_URL=platform.control_url)

    assert 'data-source="review@' in text
    assert 'id="deployment">order-app-v2' in text


async def test_the_component_that_it_shows_works() -> None:
    [code] = blocks(README, "python")

    async def api(ctx: Context) -> list[str]:
        return []

    client = TestClient(
        kit_of(code), name="greeter", env={"subPath": "dev"}, dependencies={"api-server": api}
    )
    response = await client.get("/dev/greet/Ada")

    assert response.text.startswith("Hello Ada, served with api-server@")


def test_the_two_commands_are_targets_of_make() -> None:
    commands = blocks(README, "sh")[0]

    targets = re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE)

    makefile = (PROJECT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
