"""Files that a Git repository tracks: whoever wrote the repository may have written them."""

from __future__ import annotations

from pathlib import Path

from fox.source.git import Git, GitFailed
from kubefox.errors import InvalidRequest


def is_tracked(path: Path) -> bool:
    """Return whether a repository contains a file or folder, or a file below it.

    The index is asked, not the commit: it has both what was cloned and what was just added. Without
    git, no repository can have been cloned here.

    Args:
        path: Of an existing file or folder.

    Raises:
        GitFailed: The path is in a repository that cannot be read.
    """
    git = Git(folder=path.absolute().parent)
    try:
        git.run("rev-parse", "--git-dir")
    except InvalidRequest:
        return False
    return bool(git.run("ls-files", "-z", "--", path.name))


def refuse_tracked(folder: Path) -> None:
    """Refuse a data folder that is part of a Git repository; one that does not exist is accepted.

    Raises:
        InvalidRequest: It is, or its repository cannot be read.
    """
    try:
        if not folder.exists() or not is_tracked(folder):
            return
    except GitFailed as error:
        raise InvalidRequest(f"data folder {folder} is not used: {error.detail}") from error
    raise InvalidRequest(
        f"data folder {folder} is tracked by Git, so the authors of the repository may have filled "
        f"it: delete it, or, if its content is yours, run `git rm -r --cached {folder}`"
    )
