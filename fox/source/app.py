"""An app in one Git tree: its components, each with its files and its hash."""

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
from kubefox.app import AppSpec, ComponentSpec
from kubefox.deployment import SourceRef
from kubefox.digest import RuntimeSpec, SourceFile, content_hash
from kubefox.errors import BodyTooLarge, Conflict, NotFound, Problem

SHOWN_CHANGES = 10
MAX_APP_BYTES = 512 << 20
"""Size of all components of an app together; their files are in memory while it is read."""


class ComponentSource(msgspec.Struct, frozen=True, kw_only=True):
    """One component of an app.

    Attributes:
        name: Name of its folder.
        hash: Content hash of ``files`` and ``runtime``.
        files: The files of its folder and of ``include``, sorted by path.
        runtime: The runtime and the image of its ``component.yaml``.
    """

    name: str
    hash: str
    files: tuple[SourceFile, ...]
    runtime: RuntimeSpec


class AppSource(msgspec.Struct, frozen=True, kw_only=True):
    """An app at one state of its repository.

    Attributes:
        spec: The content of ``app.yaml``.
        source: The commit, branch and tag that it was read from.
        components: Components by name, sorted.
    """

    spec: AppSpec
    source: SourceRef
    components: dict[str, ComponentSource]

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of each component by name, as a deployment holds it."""
        return {name: component.hash for name, component in self.components.items()}


def find_app(start: Path) -> Path:
    """Return the nearest folder with ``app.yaml``: ``start`` or one above it.

    Raises:
        NotFound: None of these folders has one.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / APP_FILE).is_file():
            return folder
    raise NotFound(
        f"there is no {APP_FILE} in {start.absolute()} or above: change to the folder of an app, "
        "or use --app DIR"
    )


def read_app(folder: Path, *, ref: str | None = None, is_dirty: bool = False) -> AppSource:
    """Return the app in ``folder``: a commit of it, or its working tree.

    Args:
        folder: The folder that holds ``app.yaml``.
        ref: Branch, tag or commit; None reads the checked-out commit, and refuses uncommitted
            changes.
        is_dirty: Whether to read the working tree instead.

    Raises:
        Conflict: There are uncommitted changes; the message lists them.
        NotFound: The ref does not exist, or has no app in this folder.
        ProblemsFound: ``app.yaml`` or a component is not valid; every problem is listed.
        InvalidRequest: The folder is not in a Git repository, or a file cannot be deployed.
        BodyTooLarge: A file, a component or the app is over its limit.
    """
    git = open_repository(folder)
    if ref is None and not is_dirty:
        _refuse_changes(git)
    ref = HEAD if ref is None else ref
    with _tree(git, ref, is_dirty=is_dirty) as tree:
        spec = _app_spec(tree, ref)
        source = resolve_dirty(git) if is_dirty else resolve(git, ref)
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
        + "\ncommit them, deploy them with --dirty, or name a commit with --ref"
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
    # A file directly in components/ is not part of a component.
    names = sorted({parts[1] for parts in folders if len(parts) > 2})
    problems = list(app_problems(spec, names))
    components: dict[str, ComponentSource] = {}
    size = 0
    for name in names:
        components[name] = component = _component(tree, name, problems)
        size += sum(len(file.content) for file in component.files)
        if size > MAX_APP_BYTES:
            raise BodyTooLarge(
                f"the components of an app may have {MAX_APP_BYTES:,} bytes together, and have "
                f"more from {name!r} on: make several apps of them"
            )
    if problems:
        raise not_valid(problems)
    return components


def _component(tree: Tree, name: str, problems: list[Problem]) -> ComponentSource:
    spec = _component_spec(tree, name)
    included = {path: tree.below(path.rstrip("/")) for path in spec.include}
    paths = {*tree.below(folder_of(name)), *chain.from_iterable(included.values())}
    files = tree.read(sorted(paths))
    missing = [path for path, found in included.items() if not found]
    problems.extend(component_problems(name, spec, files, missing))
    return ComponentSource(
        name=name,
        hash=content_hash(files.values(), spec.runtime_spec),
        files=tuple(files.values()),
        runtime=spec.runtime_spec,
    )


def _component_spec(tree: Tree, name: str) -> ComponentSpec:
    file = f"{folder_of(name)}/{COMPONENT_FILE}"
    if file not in tree.entries:
        return ComponentSpec()
    return parse(tree.read([file])[file].content, ComponentSpec, file)
