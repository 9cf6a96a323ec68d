"""The working tree: which files differ from the commit, and how it would look if committed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fox.source.git import Git, cut
from fox.source.tree import Tree, read_tree


def changes(git: Git) -> tuple[str, ...]:
    """Return the paths below git's folder that are not as committed, relative to it."""
    listing = git.run(
        "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", "."
    )
    prefix = os.fsencode(git.text("rev-parse", "--show-prefix"))
    # Paths come relative to the repository, after two letters of state and a space.
    return tuple(os.fsdecode(each[3:].removeprefix(prefix)) for each in cut(listing))


@contextmanager
def written_tree(git: Git) -> Iterator[Tree]:
    """Write the working tree as the tree a commit would hold; the repository stays as it is.

    Git itself applies ignore rules, deletions, modes, links and line-end filters, so equal files
    have equal hashes whether committed or not. What it writes goes to an index and an object
    store that are gone when the context ends.
    """
    with tempfile.TemporaryDirectory(prefix="fox-tree-") as folder:
        aside = Git(folder=git.folder, environ=_aside(git, Path(folder)))
        aside.run("add", "--all", "--", ".")
        yield read_tree(aside, aside.text("write-tree"))


def _aside(git: Git, folder: Path) -> dict[str, str]:
    objects = folder / "objects"
    objects.mkdir()
    index = git.path("index")
    if index.exists():
        # The copy knows tracked files that are ignored, and which files need no reading.
        shutil.copy2(index, folder / "index")
    return {
        "GIT_INDEX_FILE": str(folder / "index"),
        "GIT_OBJECT_DIRECTORY": str(objects),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(git.path("objects").resolve()),
    }


def _quoted(path: Path) -> str:
    """Return a path as git reads it from a list, where a colon separates."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
