"""A real Git repository with an app in it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

MAIN = """from fox import Context, Kit

kit = Kit(title="{name}")


@kit.default
async def call(ctx: Context) -> str:
    return "{name}"
"""

_IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.com",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.com",
}


class Repository:
    """A repository on branch ``main`` with the app in ``folder``.

    Args:
        root: Where it is made.
        app: The app's folder, relative to the root.
    """

    def __init__(self, root: Path, app: str = ".") -> None:
        self.root = root
        self.folder = root / app
        self.folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *arguments: str) -> str:
        """Run git, and return its output."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env={**os.environ, **_IDENTITY},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files, by path relative to the app's folder."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, *tags: str) -> str:
        """Commit everything, tag it, and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "Change")
        for tag in tags:
            self.git("tag", tag)
        return self.git("rev-parse", "HEAD")


def app_files(name: str, *components: str) -> dict[str, str | bytes]:
    """Return the files of a small app; each of its components responds with its name."""
    mains = {
        f"components/{component}/main.py": MAIN.format(name=component) for component in components
    }
    return {"app.yaml": f"name: {name}\n", **mains}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with an app ``shop`` of components ``api`` and ``web``, committed."""
    made = Repository(tmp_path / "shop")
    made.write(app_files("shop", "api", "web"))
    made.commit()
    return made
