"""The tutorial works from its first command to its last."""

from __future__ import annotations

from pathlib import Path

from examples.demo.platform import Platform
from tests.e2e.documents import blocks, page, run_script

TUTORIAL = page("tutorial/first-app")


async def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    first_terminal, *second_terminal = blocks(TUTORIAL, "sh")
    assert first_terminal.splitlines() == ["make setup && . .venv/bin/activate", "fox up"]

    clone = tmp_path / "clone"
    clone.mkdir()

    async with Platform(tmp_path / "data") as platform:
        script = "git init -q\n" + "".join(second_terminal).replace(". .venv/bin/activate\n", "")
        script = script.replace("http://127.0.0.1:8080", platform.http_url)
        text = await run_script(script, cwd=clone, FOX_CONTROL_URL=platform.control_url)

    answers = [line for line in text.splitlines() if line.startswith("Hello from dev-me")]
    first, second = "Hello from dev-me!", "Hello from dev-me, welcome!"
    assert blocks(TUTORIAL, "text") == [f"{first}\n", f"{first}\n{second}\n"]
    # Before and after the second version, then: released, second released, rolled back.
    assert answers == [first, first, second, first, second, first]
    assert "deployment shop-v2 is removed" in text
