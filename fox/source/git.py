"""Git, run as a program: no library reads a repository exactly as git does.

Only commands that execute nothing of the repository are run in it: none of ``rev-parse``,
``for-each-ref``, ``show-ref``, ``symbolic-ref``, ``ls-tree``, ``cat-file --batch`` and ``config``
runs a hook, a filter, a monitor, a pager or a helper. Commands that look at the working tree do:
``fox.source.scratch_repository`` runs those.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from kubefox.errors import InternalError, InvalidRequest

# Not inherited are GIT_DIR and the like, which a hook or an alias sets for its own repository, and
# GIT_SSH_COMMAND, GIT_EXTERNAL_DIFF, GIT_PAGER and others, which name programs.
_INHERITED = re.compile(
    "PATH|HOME|XDG_CONFIG_HOME|TMPDIR|EMAIL|GNUPGHOME|GPG_TTY|SSH_AUTH_SOCK"
    "|GIT_(AUTHOR|COMMITTER)_[A-Z]+|GIT_CEILING_DIRECTORIES|GIT_DISCOVERY_ACROSS_FILESYSTEM"
    "|GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|KEY_[0-9]+|VALUE_[0-9]+)"
)
_ALWAYS = {
    "LC_ALL": "C",
    # Without this, `git status` takes the lock of the index to save its file times.
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    # The name of a folder may be `*`.
    "GIT_LITERAL_PATHSPECS": "1",
    # A partial clone would fetch missing objects with programs that its configuration names. Git
    # before 2.39.4 knows only the second variable; an empty list allows no protocol.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
}
# They win over the configuration of the repository.
_OVERRIDES = (
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never"),
    # A bare repository inside a working tree brings a configuration of its own.
    *("-c", "safe.bareRepository=explicit"),
)
_ERROR_PREFIX = re.compile("(error|fatal): ")


class GitFailed(InvalidRequest):
    """A git command failed; the message is git's."""


class Git(msgspec.Struct, frozen=True, kw_only=True):
    """Runs git in one folder.

    Attributes:
        folder: Working directory of the commands.
        environ: Variables added to the few that git inherits from this process.
    """

    folder: Path
    environ: Mapping[str, str] = {}

    def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return the standard output of a command.

        Raises:
            GitFailed: The command failed.
            InvalidRequest: Git is not installed.
        """
        program = shutil.which("git", path=_absolute_path())
        if program is None:
            raise InvalidRequest(
                "git is not installed: install it, fox reads apps from Git repositories"
            )
        done = subprocess.run(  # noqa: S603 - git itself, without a shell
            [program, "--no-pager", *_OVERRIDES, *arguments],
            cwd=self.folder,
            env=self._environment(),
            input=stdin,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise GitFailed(_error_text(done, arguments))
        return done.stdout

    def text(self, *arguments: str) -> str:
        """Return the standard output of a command as text, without the line end."""
        return os.fsdecode(self.run(*arguments)).rstrip("\n")

    def find(self, *arguments: str) -> str:
        """Return the standard output of a command as text; empty if the command fails."""
        try:
            return self.text(*arguments)
        except GitFailed:
            return ""

    def path(self, name: str) -> Path:
        """Return the path of ``index``, ``objects`` …, for any kind of checkout."""
        return self.folder / self.text("rev-parse", "--git-path", name)

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if _INHERITED.fullmatch(key)}
        return {**inherited, **_ALWAYS, "PATH": _absolute_path(), **self.environ}


def open_repository(folder: Path) -> Git:
    """Return git in ``folder``.

    Raises:
        InvalidRequest: The folder is not in a repository, or git is not installed.
    """
    git = Git(folder=folder)
    try:
        top = git.text("rev-parse", "--show-toplevel")
    except GitFailed as error:
        raise InvalidRequest(
            f"{folder} cannot be read as part of a Git repository: {error.detail}; "
            "if it is not a repository yet, run `git init` and commit the app"
        ) from error
    if not folder.resolve().is_relative_to(Path(top).resolve()):
        raise InvalidRequest(
            f"{folder} is not in the working tree {top} that its Git repository names: "
            "remove core.worktree from the repository's configuration"
        )
    return git


def _absolute_path() -> str:
    """Return the search path without relative folders: these would lie in the repository."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if os.path.isabs(folder))  # noqa: PTH117


def split_entries(output: bytes) -> list[bytes]:
    """Return the entries of a ``-z`` listing.

    Raises:
        InternalError: The listing does not end with an end of entry.
    """
    if not output:
        return []
    if not output.endswith(b"\0"):
        raise InternalError("git printed a listing that is cut short")
    return output[:-1].split(b"\0")


def _error_text(done: subprocess.CompletedProcess[bytes], arguments: tuple[str, ...]) -> str:
    lines = os.fsdecode(done.stderr).strip().splitlines()
    # A "fatal:" line may say only that the command failed; "error:" lines before it give the cause.
    errors = [_ERROR_PREFIX.sub("", line) for line in lines if _ERROR_PREFIX.match(line)]
    text = "; ".join(errors or lines) or f"exit code {done.returncode}"
    return f"git {arguments[0]}: {text}"
