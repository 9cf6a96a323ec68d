"""Plain ``git``, run as a program: no library reads a repository exactly as git does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from model.errors import InternalError, InvalidRequest

# What a hook or an alias sets for its own repository must not point us at another one.
_NOT_INHERITED = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)
_ALWAYS = {
    "LC_ALL": "C",
    # `git status` would take the index lock to save what it learnt.
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # A folder may be called `*`.
    "GIT_LITERAL_PATHSPECS": "1",
}
_COMPLAINT = re.compile("(error|fatal): ")


class GitFailed(InvalidRequest):
    """A git command ended with an error; the text is git's own."""


class Git(msgspec.Struct, frozen=True, kw_only=True):
    """Runs git in one folder.

    Attributes:
        folder: Where it runs.
        environ: Variables on top of the process's own.
    """

    folder: Path
    environ: Mapping[str, str] = {}

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return what the command prints.

        Raises:
            GitFailed: It ended with an error.
            InvalidRequest: git is not installed.
        """
        program = shutil.which("git")
        if program is None:
            raise InvalidRequest("git is not installed: fox reads apps from Git repositories")
        done = subprocess.run(  # noqa: S603 - git itself, without a shell
            [program, *arguments],
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise GitFailed(_said(done, arguments))
        return done.stdout

    def text(self, *arguments: str) -> str:
        """Return what the command prints, without the line end."""
        return os.fsdecode(self.run(*arguments)).rstrip("\n")

    def find(self, *arguments: str) -> str:
        """Return what the command prints, or nothing when it fails."""
        try:
            return self.text(*arguments)
        except GitFailed:
            return ""

    def path(self, name: str) -> Path:
        """Return where git keeps ``index``, ``objects`` …, whatever the kind of checkout."""
        return self.folder / self.text("rev-parse", "--git-path", name)

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        return {**inherited, **_ALWAYS, **self.environ}


def open_repository(folder: Path) -> Git:
    """Return git in ``folder``.

    Raises:
        InvalidRequest: It lies in no repository, or git is not installed.
    """
    git = Git(folder=folder)
    try:
        git.run("rev-parse", "--show-toplevel")
    except GitFailed as error:
        raise InvalidRequest(
            f"{folder} cannot be read as part of a Git repository: {error.detail}; "
            "if it is none yet, run `git init` and commit the app"
        ) from error
    return git


def cut(output: bytes) -> list[bytes]:
    """Return the entries of a ``-z`` listing.

    Raises:
        InternalError: It does not end where an entry ends.
    """
    if not output:
        return []
    if not output.endswith(b"\0"):
        raise InternalError("git printed a listing that is cut short")
    return output[:-1].split(b"\0")


def _said(done: subprocess.CompletedProcess[bytes], arguments: tuple[str, ...]) -> str:
    lines = os.fsdecode(done.stderr).strip().splitlines()
    # "fatal:" alone may say only that it failed; the reason is in the errors before it.
    complaints = [_COMPLAINT.sub("", line) for line in lines if _COMPLAINT.match(line)]
    text = "; ".join(complaints or lines) or f"exit code {done.returncode}"
    return f"git {arguments[0]}: {text}"
