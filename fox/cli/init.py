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
from model.errors import Conflict, InvalidRequest
from model.names import clean_name

SCAFFOLD = "scaffold"
# A package must not carry a .gitignore of its own.
RENAMED = {"gitignore": ".gitignore"}
NEXT = """\
  fox up                                  # in another terminal
  fox apply -f environments.yaml
  fox deploy {app}-v1
  curl 'http://127.0.0.1:8080/dev/{app}?kf-dep={app}-v1&kf-ve=dev-me'
  fox release {app}-v1 --virtual-env dev-me
  curl http://127.0.0.1:8080/dev/{app}
"""


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; made if missing.", show_default="here")
    ] = Path(),
) -> None:
    """Make a small app to start from: one component, an environment, a test, a Git repository."""
    target = folder.absolute()
    app = _app_name(target)
    _refuse_content(target)
    _write(target, app)
    is_committed = _commit(target)
    where = "" if target == Path.cwd() else f"  cd {folder}\n"
    commit = "" if is_committed else "  git add --all && git commit -m 'Start the app'\n"
    sys.stdout.write(f"app {app} is in {target}\n\n{where}{commit}{NEXT.format(app=app)}")


def _app_name(target: Path) -> str:
    name = clean_name(target.name)
    if not name:
        raise InvalidRequest(f"{target} gives no name for an app: expected letters or digits in it")
    return name


def _refuse_content(target: Path) -> None:
    try:
        is_empty = not target.exists() or all(each.name == ".git" for each in target.iterdir())
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be used: {error.strerror}") from error
    if not is_empty:
        raise Conflict(f"{target} is not empty: `fox init` starts a new app in an empty folder")


def _write(target: Path, app: str) -> None:
    values = {"app": app, "title": app.replace("-", " ").capitalize()}
    try:
        for path, content in _files(importlib.resources.files("fox.cli") / SCAFFOLD):
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(content).safe_substitute(values), encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}") from error


def _files(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_file():
            yield above + RENAMED.get(each.name, each.name), each.read_text(encoding="utf-8")
        elif each.name != "__pycache__":
            yield from _files(each, f"{above}{each.name}/")


def _commit(target: Path) -> bool:
    """Commit the new app; without git, or a name to commit under, that is left to the user."""
    git = Git(folder=target)
    try:
        if not git.find("rev-parse", "--show-toplevel"):
            git.run("init", "--quiet")
        git.run("add", "--all", "--", ".")
        git.run("commit", "--quiet", "--message", "Start the app", "--", ".")
    except InvalidRequest as error:
        sys.stderr.write(f"not committed: {error.detail}\n")
        return False
    return True
