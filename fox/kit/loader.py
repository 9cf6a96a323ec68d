"""Import the ``kit`` of a component from its bundle."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from fox.kit.kit import Kit
from kubefox.errors import InvalidRequest

RESERVED = ("broker", "fox", "kubefox")
"""Top-level packages that a pod loads before the component: their names are taken."""


def load_kit(bundle: Path, component: str, entry: str) -> Kit:
    """Import a component's entry file and return its ``kit``.

    The component's folder and the bundle's root come first on ``sys.path``, so a component can
    import its own modules and the shared code that it includes. They stay there.

    Args:
        bundle: Folder of the unpacked bundle, or of an app.
        component: Name of the component.
        entry: File in ``components/<component>/``, such as ``main.py``.

    Returns:
        The object that the entry file holds under the name ``kit``.

    Raises:
        InvalidRequest: The file is missing, exits or holds no ``kit``, or a module has a reserved
            name.
        Exception: The component's own code raised it on import.
    """
    folder = bundle / "components" / component
    file = folder / entry
    if not file.is_file():
        raise InvalidRequest(f"component {component} has no entry file {file}")
    _check_names(folder)
    _check_names(bundle)
    sys.path[:0] = [str(folder), str(bundle)]
    spec = importlib.util.spec_from_file_location(Path(entry).stem, file)
    if spec is None or spec.loader is None:
        raise InvalidRequest(f"entry file {file} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SystemExit as error:
        raise InvalidRequest(
            f"{file} exits when it is imported: it may only declare the component"
        ) from error
    kit = getattr(module, "kit", None)
    if not isinstance(kit, Kit):
        raise InvalidRequest(f"{file} must hold `kit = Kit(…)`, found {type(kit).__name__}")
    return kit


def _check_names(folder: Path) -> None:
    """Refuse modules with reserved names: the platform's are loaded, so they cannot be imported.

    Raises:
        InvalidRequest: ``folder`` holds such a module.
    """
    for name in RESERVED:
        for path in (folder / name, folder / f"{name}.py"):
            if path.exists():
                raise InvalidRequest(
                    f"rename {path}: in a pod, import {name} means the platform's package {name}"
                )
