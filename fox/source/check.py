"""What would not run although it can be read: looked for here, before anything is deployed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from fox.source.spec import problem
from model.app import AppSpec, ComponentSpec
from model.bundle import check_file
from model.digest import FileMode, SourceFile
from model.errors import InvalidBundle, InvalidRequest, Problem
from model.names import check_name

APP_FILE = "app.yaml"
COMPONENT_FILE = "component.yaml"
COMPONENTS = "components"
RUNTIMES = ("python",)


def folder_of(component: str) -> str:
    """Return the folder of a component, relative to the app's."""
    return f"{COMPONENTS}/{component}"


def app_problems(spec: AppSpec, components: Iterable[str]) -> Iterator[Problem]:
    """Yield what is wrong with ``app.yaml`` itself.

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
                where = f"modules.{name}.components[{index}]"
                text = f"no folder {folder_of(component)}: expected one of {_listed(known)}"
                yield problem("ComponentNotFound", APP_FILE, where, text)


def component_problems(
    name: str, spec: ComponentSpec, files: Mapping[str, SourceFile], missing: Iterable[str]
) -> Iterator[Problem]:
    """Yield what is wrong with one component.

    Args:
        name: Name of its folder.
        spec: Its ``component.yaml``, or the defaults.
        files: All it consists of, by path.
        missing: Entries of ``include`` that name nothing.
    """
    folder = folder_of(name)
    file = f"{folder}/{COMPONENT_FILE}"
    yield from _name_problems(name, "component", folder, "")
    if spec.runtime.kind not in RUNTIMES:
        text = f"runtime {spec.runtime.kind!r} is not known: expected {_listed(RUNTIMES)}"
        yield problem("RuntimeNotFound", file, "runtime.kind", text)
    if f"{folder}/{spec.runtime.entry}" not in files:
        yield problem("EntryNotFound", file, "runtime.entry", _no_entry(folder, spec.runtime.entry))
    for include in missing:
        where = f"include[{spec.include.index(include)}]"
        text = f"{include!r} names no committed file or folder inside the app"
        yield problem("IncludeNotFound", file, where, text)
    for each in files.values():
        yield from _file_problems(each, files)


def _name_problems(name: str, what: str, file: str, where: str) -> Iterator[Problem]:
    try:
        check_name(name, what)
    except InvalidRequest as error:
        yield problem("InvalidName", file, where, error.detail)


def _file_problems(file: SourceFile, files: Mapping[str, SourceFile]) -> Iterator[Problem]:
    try:
        check_file(file)
    except InvalidBundle as error:
        yield problem("FileNotAllowed", file.path, "", error.detail)
        return
    if file.mode is FileMode.SYMLINK:
        yield from _link_problems(file, files)


def _link_problems(link: SourceFile, files: Mapping[str, SourceFile]) -> Iterator[Problem]:
    """A link to what the component does not hold would dangle wherever the component runs."""
    target = link.content.decode()
    leads_to = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
    if not _holds(files, leads_to):
        text = f"link to {target!r}, which is no part of the component: add it to include"
        yield problem("LinkTargetNotFound", link.path, "", text)


def _holds(files: Mapping[str, SourceFile], path: str) -> bool:
    return path in files or any(each.startswith(f"{path}/") for each in files)


def _no_entry(folder: str, entry: str) -> str:
    return (
        f"no file {folder}/{entry}: every folder in {COMPONENTS}/ is a component; "
        "shared code belongs elsewhere, named in include"
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
