"""What README shows is what happens."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from examples.demo.fox import Platform
from fox import Context, Kit
from fox.kit.testing import TestClient

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
TOUR = README.partition("## Five-minute tour")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# It waits for many processes to start, which a busy machine does slowly.
@pytest.mark.timeout(180)
async def test_every_command_of_the_tour_works(tmp_path: Path) -> None:
    first_terminal, *second_terminal = blocks(TOUR, "sh")
    assert first_terminal.splitlines() == ["make setup && . .venv/bin/activate", "fox up"]

    async with Platform(tmp_path / "data") as platform:
        script = "".join(second_terminal)
        script = script.replace(". .venv/bin/activate\n", "")
        script = script.replace("/tmp/order-app", str(tmp_path / "order-app"))
        script = script.replace("http://127.0.0.1:8080", platform.http_url)
        bash = await asyncio.create_subprocess_exec(
            "bash",
            "-euxo",
            "pipefail",
            "-c",
            script,
            cwd=PROJECT,
            env=os.environ
            | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "FOX_CONTROL_URL": platform.control_url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await bash.communicate()

    text = said.decode()
    assert bash.returncode == 0, text
    assert 'data-source="review@' in text
    assert 'id="deployment">order-app-v2' in text


async def test_the_component_that_it_shows_works() -> None:
    [code] = blocks(README, "python")
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - it is our own README
    kit = names["kit"]
    assert isinstance(kit, Kit)

    async def api(ctx: Context) -> list[str]:
        return []

    client = TestClient(
        kit, name="greeter", env={"subPath": "dev"}, dependencies={"api-server": api}
    )
    response = await client.get("/dev/greet/Ada")

    assert response.text.startswith("Hello Ada, served with api-server@")


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)

    assert [each for each in links if not (PROJECT / each).exists()] == []
