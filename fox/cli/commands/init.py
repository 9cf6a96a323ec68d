"""``fox init``."""

from __future__ import annotations

import importlib.resources
import sys
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from fox.source.git import Git
from kubefox.errors import Conflict, InvalidRequest
from kubefox.names import clean_name

SCAFFOLD = "scaffold"
# In the package the file has no dot: git would apply it to the package itself.
RENAMED = {"gitignore": ".gitignore"}
NEXT_STEPS = """\
  fox up                                  # in another terminal
  fox apply -f environments.yaml
  fox deploy {app}-v1
  curl 'http://127.0.0.1:8080/dev/{app}?kf-dep={app}-v1&kf-ve=dev-me'
  fox release {app}-v1 --virtual-env dev-me
  curl http://127.0.0.1:8080/dev/{app}
"""


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Folder of the new app; it is created if missing.",
            show_default="the current folder",
        ),
    ] = Path(),
) -> None:
    """Create a small app: one component, an environment, a test, a Git repository."""
    target = folder.absolute()
    app = _app_name(target)
    _refuse_content(target)
    _write(target, app)
    is_committed = _commit(target)
    change_folder = "" if target == Path.cwd() else f"  cd {folder}\n"
    commit = "" if is_committed else "  git add --all && git commit -m 'Start the app'\n"
    next_steps = f"{change_folder}{commit}{NEXT_STEPS.format(app=app)}"
    sys.stdout.write(f"app {app} is created in {target}; next steps:\n\n{next_steps}")


def _app_name(target: Path) -> str:
    name = clean_name(target.name)
    if not name:
        raise InvalidRequest(
            f"the app cannot be named after folder {target}: its name needs letters or digits"
        )
    return name


def _refuse_content(target: Path) -> None:
    try:
        is_empty = not target.exists() or all(path.name == ".git" for path in target.iterdir())
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be used: {error.strerror}") from error
    if not is_empty:
        raise Conflict(f"{target} is not empty: `fox init` needs an empty folder")


def _write(target: Path, app: str) -> None:
    values = {"app": app, "title": app.replace("-", " ").capitalize()}
    try:
        for path, content in _files(importlib.resources.files("fox.cli") / SCAFFOLD):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(content).safe_substitute(values), encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}") from error


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the relative path and the content of each file below a folder."""
    for entry in folder.iterdir():
        if entry.is_file():
            yield prefix + RENAMED.get(entry.name, entry.name), entry.read_text(encoding="utf-8")
        elif entry.name != "__pycache__":
            yield from _files(entry, f"{prefix}{entry.name}/")


def _commit(target: Path) -> bool:
    """Commit the new app; return False if git is missing or has no author to commit under.

    In a repository that exists, a commit would run the hooks and filters that it names.
    """
    git = Git(folder=target)
    try:
        if top := git.find("rev-parse", "--show-toplevel"):
            sys.stderr.write(f"not committed: {target} is in the existing repository {top}\n")
            return False
        git.run("init", "--quiet")
        git.run("add", "--all", "--", ".")
        git.run("commit", "--quiet", "--message", "Start the app", "--", ".")
    except InvalidRequest as error:
        sys.stderr.write(f"not committed: {error.detail}\n")
        return False
    return True
