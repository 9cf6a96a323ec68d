"""Print a component's definition: ``python -I -m fox.kit.export`` with the arguments of ``main``.

This runs in a process of its own, because a component's code is not trusted code of the platform.
The process confines itself before it loads that code. Output of the code goes to standard error;
standard output contains an ``ExportedDefinition`` as JSON only.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import msgspec

from broker.runtime import confinement, namespaces
from fox.kit.loader import load_kit
from kubefox.component import ExportedDefinition

_MEMORY_BYTES = 2 << 30
_OPEN_FILES = 1024
# Standard error is a file: code that prints without end must not fill the disk.
_FILE_BYTES = 16 << 20
_SCRATCH_SIZE = "64m"


def main(arguments: list[str]) -> None:
    """Print the definition of a component.

    Args:
        arguments: Folder of the bundle, name of the component, its entry file, an empty folder for
            the new root of the file system, an empty home folder, and the longest CPU time in
            whole seconds.
    """
    bundle, component, entry, root, home, cpu_s = arguments
    limits = confinement.Confinement(
        memory_bytes=_MEMORY_BYTES,
        open_files=_OPEN_FILES,
        cpu_s=int(cpu_s),
        file_bytes=_FILE_BYTES,
    )
    confinement.confine_self(limits)
    missing = _isolate(Path(root), Path(bundle), Path(home))
    with contextlib.redirect_stdout(sys.stderr):
        kit = load_kit(Path(bundle), component, entry)
    exported = ExportedDefinition(definition=kit.definition(component), not_isolated=missing)
    sys.stdout.buffer.write(msgspec.json.encode(exported))


def _isolate(root: Path, bundle: Path, home: Path) -> str:
    """Take the network, the processes and the files away; return why it failed, or nothing."""
    try:
        namespaces.enter(root, [bundle], [home], size=_SCRATCH_SIZE)
    except OSError as error:
        return str(error.strerror or error)
    return ""


if __name__ == "__main__":
    main(sys.argv[1:])
