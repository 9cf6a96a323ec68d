"""Print a component's definition: ``python -I -m fox.kit.export <bundle> <component> <entry>``.

Runs in a process of its own, because a component's code is not the platform's. Whatever that code
prints goes to standard error; standard output holds the JSON definition and nothing else.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import msgspec

from fox.kit.loader import load_kit

_MAX_FILE_BYTES = 16 << 20


def main(arguments: list[str]) -> None:
    """Print the definition of the component that ``arguments`` name."""
    bundle, component, entry = arguments
    # Standard error is a file: code that prints without end must not fill the disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    with contextlib.redirect_stdout(sys.stderr):
        kit = load_kit(Path(bundle), component, entry)
    sys.stdout.buffer.write(msgspec.json.encode(kit.definition(component)))


if __name__ == "__main__":
    main(sys.argv[1:])
