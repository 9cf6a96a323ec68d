"""Checks of an app that can be read but would not run; they are made before it is deployed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from fox.source.spec import problem
from kubefox.app import AppSpec, ComponentSpec
from kubefox.bundle import check_file, check_parents
from kubefox.digest import FileMode, SourceFile
from kubefox.errors import InvalidBundle, InvalidRequest, Problem
from kubefox.formats import IMAGE
from kubefox.names import check_name

APP_FILE = "app.yaml"
COMPONENT_FILE = "component.yaml"
COMPONENTS = "components"
RUNTIMES = ("python",)


def folder_of(component: str) -> str:
    """Return the folder of a component, relative to the app's folder."""
    return f"{COMPONENTS}/{component}"


def app_problems(spec: AppSpec, components: Iterable[str]) -> Iterator[Problem]:
    """Yield the problems of ``app.yaml``.

    Args:
        spec: The file.
        components: Names of the folders in ``components/``.
    """
    known = set(components)
    if not known:
        text = f"the app has no component: expected a folder in {COMPONENTS}/"
        yield problem("NoComponents", COMPONENTS, "", text)
    yield from _name_problems(spec.name, "app", APP_FILE, "name")
    for name, module in spec.modules.items():
        for index, component in enumerate(module.components):
            if component not in known:
                path = f"modules.{name}.components[{index}]"
                text = f"there is no folder {folder_of(component)}: expected {_one_of(known)}"
                yield problem("ComponentNotFound", APP_FILE, path, text)


def component_problems(
    name: str, spec: ComponentSpec, files: Mapping[str, SourceFile], missing: Iterable[str]
) -> Iterator[Problem]:
    """Yield the problems of one component.

    Args:
        name: Name of its folder.
        spec: Its ``component.yaml``, or the defaults.
        files: All files of the component, by path.
        missing: Entries of ``include`` for which there is no file.
    """
    folder = folder_of(name)
    file = f"{folder}/{COMPONENT_FILE}"
    yield from _name_problems(name, "component", folder, "")
    if spec.runtime.kind not in RUNTIMES:
        text = f"runtime {spec.runtime.kind!r} is not known: expected {_one_of(RUNTIMES)}"
        yield problem("RuntimeNotFound", file, "runtime.kind", text)
    if f"{folder}/{spec.runtime.entry}" not in files:
        text = _no_entry(folder, spec.runtime.entry, has_image=bool(spec.image))
        yield problem("EntryNotFound", file, "runtime.entry", text)
    if fault := IMAGE.fault(spec.image) if spec.image else "":
        yield problem("InvalidImage", file, "image", fault)
    for include in missing:
        path = f"include[{spec.include.index(include)}]"
        text = f"there is no committed file or folder {include!r} in the app"
        yield problem("IncludeNotFound", file, path, text)
    for source_file in files.values():
        yield from _file_problems(source_file, files)
    try:
        check_parents(files)
    except InvalidBundle as error:
        yield problem("FileNotAllowed", folder, "", error.detail)


def _name_problems(name: str, noun: str, file: str, path: str) -> Iterator[Problem]:
    try:
        check_name(name, noun)
    except InvalidRequest as error:
        yield problem("InvalidName", file, path, error.detail)


def _file_problems(file: SourceFile, files: Mapping[str, SourceFile]) -> Iterator[Problem]:
    try:
        check_file(file)
    except InvalidBundle as error:
        yield problem("FileNotAllowed", file.path, "", error.detail)
        return
    if file.mode is FileMode.SYMLINK:
        yield from _link_problems(file, files)


def _link_problems(link: SourceFile, files: Mapping[str, SourceFile]) -> Iterator[Problem]:
    """Yield a problem if the target of a link is not a file or folder of the component."""
    target = link.content.decode()
    path = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
    if not _contains(files, path):
        text = f"the link's target {target!r} is not part of the component: add it to include"
        yield problem("LinkTargetNotFound", link.path, "", text)


def _contains(files: Mapping[str, SourceFile], path: str) -> bool:
    return path in files or any(file.startswith(f"{path}/") for file in files)


def _no_entry(folder: str, entry: str, *, has_image: bool) -> str:
    if has_image:
        return (
            f"there is no file {folder}/{entry}: a component with an image has code in its folder "
            "too, which may import the packages of the image"
        )
    return (
        f"there is no file {folder}/{entry}: every folder in {COMPONENTS}/ is a component; move "
        "shared code elsewhere, and name it in include"
    )


def _one_of(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
