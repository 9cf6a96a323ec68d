"""Build the Git repository of the Order App, with its three versions as commits and tags.

``order-app/`` is the app at v1. Each folder in ``order-app/versions/`` holds only the files that
its version adds or replaces. The branch ``snoop`` adds a component that makes a call that it does
not declare.

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
# With the same author, date and configuration, the commits have the same ids on every machine.
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
    """Create a repository with the tags v1, v2 and v3; ``main`` is at v3 and checked out.

    Raises:
        FileExistsError: The folder exists and is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    for version, subject in VERSIONS.items():
        _commit(version, subject, folder)
        _git(folder, "tag", version)
    _git(folder, "switch", "--quiet", "--create", SNOOP)
    _commit(SNOOP, "Add a component with an undeclared call", folder)
    _git(folder, "switch", "--quiet", "main")


def lay_out(version: str, folder: Path) -> None:
    """Copy the files that ``version`` adds or replaces into ``folder``."""
    source = SOURCE if version == "v1" else SOURCE / "versions" / version
    shutil.copytree(source, folder, ignore=_IGNORED, dirs_exist_ok=True)


def _commit(version: str, subject: str, folder: Path) -> None:
    lay_out(version, folder)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", subject)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **_ENVIRON}, check=True)


def main(folder: Path) -> None:
    """Create the repository, or end with one line that says why it cannot be created."""
    try:
        build(folder)
    except FileExistsError as error:
        sys.exit(f"error: {error}: name a new folder")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
