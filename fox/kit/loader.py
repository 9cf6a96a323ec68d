"""Find the ``kit`` of a component in its unpacked bundle."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from fox.kit.kit import Kit
from model.errors import InvalidRequest

_PLATFORM = ("adapters", "broker", "fox", "model", "pods", "routing")


def load_kit(bundle: Path, component: str, entry: str) -> Kit:
    """Import a component's entry file and return its ``kit``.

    The component's folder and the bundle's root come first on the import path, so a component
    imports its own modules and the shared code it includes.

    Args:
        bundle: Folder of the unpacked bundle.
        component: Name of the component.
        entry: File in ``components/<component>/``.

    Raises:
        InvalidRequest: The file is missing, exits, holds no ``kit``, or a module's name is taken.
        Exception: Whatever the component's own code raises on import.
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
        raise InvalidRequest(f"{file} exits when it is imported; it must only declare") from error
    kit = getattr(module, "kit", None)
    if not isinstance(kit, Kit):
        raise InvalidRequest(f"{file} must hold `kit = Kit(…)`, found {type(kit).__name__}")
    return kit


def _check_names(folder: Path) -> None:
    """Refuse a module that could not be imported: the platform's has been, under that name."""
    for name in _PLATFORM:
        for path in (folder / name, folder / f"{name}.py"):
            if path.exists():
                raise InvalidRequest(
                    f"rename {path}: import {name} means the platform's own {name}"
                )
