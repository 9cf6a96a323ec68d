"""Reads an app: its components, each with its files and its hash, from one Git tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from fox.source.check import (
    APP_FILE,
    COMPONENT_FILE,
    COMPONENTS,
    app_problems,
    component_problems,
    folder_of,
)
from fox.source.git import Git, open_repository
from fox.source.revision import HEAD, resolve, resolve_dirty
from fox.source.spec import not_valid, parse
from fox.source.tree import Tree, read_tree
from fox.source.worktree import changes, written_tree
from model.app import AppSpec, ComponentSpec
from model.deployment import SourceRef
from model.digest import RuntimeSpec, SourceFile, content_hash
from model.errors import Conflict, NotFound, Problem

SHOWN_CHANGES = 10


class ComponentSource(msgspec.Struct, frozen=True, kw_only=True):
    """One component as its files say.

    Attributes:
        name: Name of its folder.
        hash: Content hash of ``files`` and ``runtime``.
        files: Its folder and what it includes, sorted by path.
        runtime: How they are run.
    """

    name: str
    hash: str
    files: tuple[SourceFile, ...]
    runtime: RuntimeSpec


class AppSource(msgspec.Struct, frozen=True, kw_only=True):
    """An app at one state of its repository.

    Attributes:
        spec: Its ``app.yaml``.
        source: Which state that is.
        components: By name, sorted.
    """

    spec: AppSpec
    source: SourceRef
    components: dict[str, ComponentSource]

    @property
    def hashes(self) -> dict[str, str]:
        """Component name to hash: what a deployment is."""
        return {name: each.hash for name, each in self.components.items()}


def find_app(start: Path) -> Path:
    """Return the nearest folder with ``app.yaml``: ``start`` or one above it.

    Raises:
        NotFound: There is none.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / APP_FILE).is_file():
            return folder
    raise NotFound(f"no {APP_FILE} in {start.absolute()} or above: go to an app, or use --app DIR")


def read_app(folder: Path, *, ref: str | None = None, is_dirty: bool = False) -> AppSource:
    """Return the app in ``folder`` as it was committed, or as it lies there.

    Args:
        folder: Holds ``app.yaml``.
        ref: Branch, tag or commit; None takes the checked-out commit and refuses changes that
            are not in it.
        is_dirty: Take the working tree instead.

    Raises:
        Conflict: Uncommitted changes, listed by name.
        NotFound: The ref or the app in it does not exist.
        ProblemsFound: ``app.yaml`` or a component is not right; every problem is listed.
        InvalidRequest: Not a Git repository, or files that cannot be deployed.
    """
    git = open_repository(folder)
    if ref is None and not is_dirty:
        _refuse_changes(git)
    named = HEAD if ref is None else ref
    with _tree(git, named, is_dirty=is_dirty) as tree:
        spec = _app_spec(tree, named)
        source = resolve_dirty(git) if is_dirty else resolve(git, named)
        return AppSource(spec=spec, source=source, components=_components(tree, spec))


def _refuse_changes(git: Git) -> None:
    changed = changes(git)
    if not changed:
        return
    names = "".join(f"\n  {name}" for name in changed[:SHOWN_CHANGES])
    more = len(changed) - SHOWN_CHANGES
    raise Conflict(
        f"the app has uncommitted changes:{names}"
        + (f"\n  … and {more} more" if more > 0 else "")
        + "\ncommit them, take them along with --dirty, or name a commit with --ref"
    )


@contextmanager
def _tree(git: Git, ref: str, *, is_dirty: bool) -> Iterator[Tree]:
    if is_dirty:
        with written_tree(git) as tree:
            yield tree
    else:
        yield read_tree(git, resolve(git, ref).commit)


def _app_spec(tree: Tree, ref: str) -> AppSpec:
    if APP_FILE not in tree.entries:
        raise NotFound(f"{APP_FILE} is not in {ref}: commit it, or use --dirty")
    return parse(tree.read([APP_FILE])[APP_FILE].content, AppSpec, APP_FILE)


def _components(tree: Tree, spec: AppSpec) -> dict[str, ComponentSource]:
    folders = (path.split("/") for path in tree.below(COMPONENTS))
    # A file right in components/ belongs to no component.
    names = sorted({parts[1] for parts in folders if len(parts) > 2})
    problems = list(app_problems(spec, names))
    components = {name: _component(tree, name, problems) for name in names}
    if problems:
        raise not_valid(problems)
    return components


def _component(tree: Tree, name: str, problems: list[Problem]) -> ComponentSource:
    spec = _component_spec(tree, name)
    included = {each: tree.below(each.rstrip("/")) for each in spec.include}
    paths = {*tree.below(folder_of(name)), *chain.from_iterable(included.values())}
    files = tree.read(sorted(paths))
    missing = [each for each, found in included.items() if not found]
    problems.extend(component_problems(name, spec, files, missing))
    return ComponentSource(
        name=name,
        hash=content_hash(files.values(), spec.runtime),
        files=tuple(files.values()),
        runtime=spec.runtime,
    )


def _component_spec(tree: Tree, name: str) -> ComponentSpec:
    file = f"{folder_of(name)}/{COMPONENT_FILE}"
    if file not in tree.entries:
        return ComponentSpec()
    return parse(tree.read([file])[file].content, ComponentSpec, file)
