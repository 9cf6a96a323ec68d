"""The code blocks of the documentation, and a way to run their commands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from fox import Kit

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
COMMAND_PAGES = ("how-to", "operations", "tutorial")
"""Folders of the pages whose blocks are run; other pages contain no commands to type."""

NOT_RUN = re.compile(
    r"^<!-- not run: (?P<reason>[^\n]+) -->\n```(?P<language>\w+)\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)

ENVIRON = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    **{
        f"GIT_{role}_{what}": "a@b"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of one language, without those that are marked as not run."""
    return [
        block["code"]
        for block in _BLOCK.finditer(NOT_RUN.sub("", text))
        if block["language"] == language
    ]


def page(name: str) -> str:
    """Return the text of a page of the documentation."""
    return (DOCS / f"{name}.md").read_text()


def kit_of(code: str) -> Kit:
    """Return the kit that the code of a page declares."""
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - code of our own documentation
    kit = names["kit"]
    assert isinstance(kit, Kit)
    return kit


async def run_script(script: str, *, cwd: Path, **environ: str) -> str:
    """Run commands in one shell and return their output.

    Raises:
        AssertionError: A command failed; shows all output.
    """
    bash = await asyncio.create_subprocess_exec(
        *("bash", "-euxo", "pipefail", "-c", script.replace("curl ", "curl -sSf ")),
        cwd=cwd,
        env=os.environ | ENVIRON | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await bash.communicate()
    text = output.decode()
    assert bash.returncode == 0, text
    return text
