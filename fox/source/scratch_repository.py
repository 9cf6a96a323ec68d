"""A temporary Git repository over an app's working tree, for commands that look at the tree.

``git status`` and ``git add`` run what a repository's configuration names: file system monitors,
clean filters, ``git status`` in submodules with their own configuration. A repository that somebody
else made may name any program there. So these commands run with a ``.git`` folder of their own,
which has the index and the objects of the app's repository, but none of its configuration except
the settings that say how files are read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fox.source.git import Git
from kubefox.errors import InvalidRequest

_KEPT = (
    "core.attributesfile",
    "core.autocrlf",
    "core.eol",
    "core.excludesfile",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
)
_OBJECT_FORMAT = "extensions.objectformat"
_OBJECT_FORMATS = ("sha1", "sha256")


@contextmanager
def scratch_repository(git: Git) -> Iterator[Git]:
    """Yield git for the same folder in a temporary repository; the app's is not changed.

    The repository is removed when the context ends.

    Raises:
        InvalidRequest: The repository has an object format that is not known.
    """
    with tempfile.TemporaryDirectory(prefix="fox-tree-") as name:
        folder = Path(name)
        settings = _settings(git)
        _create(git, folder, settings.get(_OBJECT_FORMAT, _OBJECT_FORMATS[0]))
        environ = {
            "GIT_DIR": name,
            "GIT_WORK_TREE": git.text("rev-parse", "--show-toplevel"),
            "GIT_INDEX_FILE": str(folder / "index"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(git.path("objects").resolve()),
            # The user's filters are of no use to a repository that chooses among them.
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **_as_variables({key: settings[key] for key in _KEPT if key in settings}),
        }
        yield Git(folder=git.folder, environ=environ)


def _settings(git: Git) -> dict[str, str]:
    """Return the configuration of the user and the repository; the last value of a key wins."""
    entries = os.fsdecode(git.run("config", "--list", "-z")).split("\0")
    pairs = (entry.partition("\n") for entry in entries if entry)
    # A key without a value is a boolean that is true.
    return {key: value if separator else "true" for key, separator, value in pairs}


def _create(git: Git, folder: Path, object_format: str) -> None:
    if object_format not in _OBJECT_FORMATS:
        raise InvalidRequest(
            f"the Git repository has object format {object_format!r}: expected "
            f"{' or '.join(_OBJECT_FORMATS)}"
        )
    for name in ("objects", "refs", "info"):
        (folder / name).mkdir()
    (folder / "config").write_text(
        "[core]\nrepositoryFormatVersion = 1\nbare = false\n"
        f"[extensions]\nobjectFormat = {object_format}\n"
    )
    commit = git.find("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    (folder / "HEAD").write_text(f"{commit or 'ref: refs/heads/none'}\n")
    index = git.path("index")
    # The index lists files that are tracked although ignored, and unchanged files, which git need
    # not read. A split index has its other part beside it.
    for file in (index, *index.parent.glob("sharedindex.*")):
        _copy(file, folder / file.name)
    for name in ("info/exclude", "info/attributes"):
        _copy(git.path(name), folder / name)


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy2(source, target)


def _as_variables(settings: dict[str, str]) -> dict[str, str]:
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _quoted(path: Path) -> str:
    """Return a path quoted for git's list of paths, which colons separate."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
