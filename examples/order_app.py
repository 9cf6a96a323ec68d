"""Build the Order App's Git repository, with its three versions as commits and tags.

``order-app/`` is the app at v1. Every folder in ``order-app/versions/`` holds the files that its
version adds or replaces, so that what changed is seen at a glance. The branch ``snoop`` adds a
component that breaks the rules.

    python -m examples.order_app FOLDER
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("order-app")
ENVIRONMENTS = "environments.yaml"
VERSIONS = {
    "v1": "Sell from the Order App",
    "v2": "Show totals and revenue",
    "v3": "Let customers review their orders",
}
SNOOP = "snoop"
_IGNORED = shutil.ignore_patterns("versions", "__pycache__")
# The same author, date and configuration wherever it runs, so that commits have the same ids.
_ENVIRON = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Order App",
    "GIT_AUTHOR_EMAIL": "order-app@example.com",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Order App",
    "GIT_COMMITTER_EMAIL": "order-app@example.com",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
}


def build(folder: Path) -> None:
    """Make ``folder`` a repository with the tags v1, v2, v3; ``main`` is at v3, and checked out.

    Raises:
        FileExistsError: The folder is there and not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    for version, subject in VERSIONS.items():
        _commit(version, subject, folder)
        _git(folder, "tag", version)
    _git(folder, "switch", "--quiet", "--create", SNOOP)
    _commit(SNOOP, "Snoop around", folder)
    _git(folder, "switch", "--quiet", "main")


def lay_out(version: str, folder: Path) -> None:
    """Put the files that ``version`` adds or replaces into ``folder``, on top of those before."""
    source = SOURCE if version == "v1" else SOURCE / "versions" / version
    shutil.copytree(source, folder, ignore=_IGNORED, dirs_exist_ok=True)


def _commit(version: str, subject: str, folder: Path) -> None:
    lay_out(version, folder)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", subject)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **_ENVIRON}, check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
