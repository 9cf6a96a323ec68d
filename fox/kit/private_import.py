"""Import a package of the platform without reserving its name.

A pod loads ``fox``, ``kubefox`` and ``broker`` only, so a component may have a module that is
called like any other package of the platform, such as ``routing.py``. ``fox.testing`` needs the
platform's ``routing``: it imports that as a private copy, and leaves the name to the component.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def private_import(package: str) -> Iterator[None]:
    """Import modules of the platform's ``package`` within the context.

    Afterwards ``sys.modules`` holds under these names what it held before. If the platform's
    package has been imported already, its modules are used and stay.

    Args:
        package: Name of a top-level package of the platform.
    """
    before = _modules_of(package)
    if _is_platform_package(before.get(package), package):
        yield
        return
    _remove(before)
    sys.path.insert(0, str(_ROOT))
    try:
        yield
    finally:
        sys.path.remove(str(_ROOT))
        _remove(_modules_of(package))
        sys.modules.update(before)


def _modules_of(package: str) -> dict[str, ModuleType]:
    return {
        name: module
        for name, module in sys.modules.items()
        if name == package or name.startswith(f"{package}.")
    }


def _is_platform_package(module: ModuleType | None, package: str) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).parent == _ROOT / package


def _remove(modules: dict[str, ModuleType]) -> None:
    for name in modules:
        del sys.modules[name]
