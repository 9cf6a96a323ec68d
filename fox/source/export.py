"""Export of component definitions: each component's code runs in a clean process of its own.

The code gets no variable of the user, an empty home folder, and limited resources. Where the system
allows it, it also gets no network, and no file except its own and those of Python.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from fox.source.app import ComponentSource
from kubefox.component import ComponentDefinition, ExportedDefinition
from kubefox.digest import FileMode, SourceFile
from kubefox.errors import ComponentFailed, DeadlineExceeded

TIMEOUT_S = 30.0
CONCURRENT = 2
SHOWN_LINES = 8
SHOWN_CHARACTERS = 500
_PACKAGES_OF_IMAGE = (
    "the code is loaded on this machine, without its image: install the package beside fox, or "
    "import it in the handlers"
)
# Equal code must give equal definitions for every user, so it sees few of the user's variables.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


def export_definitions(
    components: Sequence[ComponentSource],
    *,
    timeout_s: float = TIMEOUT_S,
    on_not_isolated: Callable[[str], None] | None = None,
) -> dict[str, ComponentDefinition]:
    """Return the definition of each component, by its name.

    Args:
        components: Two of them are exported at a time.
        timeout_s: Longest time for one component.
        on_not_isolated: Called at most once, with the system's reason, if code was run that could
            use the network and the user's files.

    Raises:
        ComponentFailed: A component cannot be loaded; the message ends with Python's traceback.
        DeadlineExceeded: A component was not loaded in time.
    """
    exported: dict[str, ExportedDefinition] = {}
    for start in range(0, len(components), CONCURRENT):
        with tempfile.TemporaryDirectory(prefix="fox-export-") as folder:
            batch = components[start : start + CONCURRENT]
            exported.update(_export(batch, Path(folder), timeout_s))
    reasons = [one.not_isolated for one in exported.values() if one.not_isolated]
    if reasons and on_not_isolated is not None:
        on_not_isolated(reasons[0])
    return {name: one.definition for name, one in exported.items()}


def materialise(files: Sequence[SourceFile], folder: Path) -> None:
    """Write a component's files below ``folder``, with their modes and links."""
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.mode is FileMode.SYMLINK:
            path.symlink_to(os.fsdecode(file.content))
        else:
            path.write_bytes(file.content)
            path.chmod(0o755 if file.mode is FileMode.EXECUTABLE else 0o644)


def _export(
    components: Sequence[ComponentSource], folder: Path, timeout_s: float
) -> dict[str, ExportedDefinition]:
    deadline_s = time.monotonic() + timeout_s
    with ExitStack() as stack:
        # All processes are started before the first one is waited for.
        started = [
            (component, stack.enter_context(_process(component, folder, timeout_s)))
            for component in components
        ]
        return {
            component.name: _definition(component, process, folder, deadline_s)
            for component, process in started
        }


@contextmanager
def _process(
    component: ComponentSource, folder: Path, timeout_s: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Start an export; when the context ends, its process and all its children are killed."""
    bundle, root, home = (folder / f"{component.name}{end}" for end in ("", ".root", ".home"))
    for made in (bundle, root, home):
        made.mkdir()
    materialise(component.files, bundle)
    command = [sys.executable, "-I", "-B", "-m", "fox.kit.export"]
    given = (bundle, component.name, component.runtime.entry, root, home, math.ceil(timeout_s))
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # Output goes to files: a pipe that is not read would block the process.
    with _out(component, folder).open("wb") as out, _err(component, folder).open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - this Python, without a shell
            [*command, *map(str, given)],
            cwd=bundle,
            env={**inherited, "HOME": str(home), "TMPDIR": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _definition(
    component: ComponentSource, process: subprocess.Popen[bytes], folder: Path, deadline_s: float
) -> ExportedDefinition:
    try:
        code = process.wait(max(0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(
            f"component {component.name}: its code was not loaded in time; "
            "an import of it must only declare routes and dependencies, not serve",
            hop=component.name,
        ) from error
    if code != 0:
        printed = _err(component, folder).read_text(errors="replace")
        # Paths in the traceback are those of the app, not of its copy.
        text = printed.replace(f"{folder / component.name}/", "")
        raise _failed(component, text or f"its process ended with code {code}")
    try:
        return msgspec.json.decode(_out(component, folder).read_bytes(), type=ExportedDefinition)
    except msgspec.MsgspecError as error:
        raise _failed(component, f"its definition cannot be read: {error}") from error


def _out(component: ComponentSource, folder: Path) -> Path:
    return folder / f"{component.name}.json"


def _err(component: ComponentSource, folder: Path) -> Path:
    return folder / f"{component.name}.log"


def _failed(component: ComponentSource, output: str) -> ComponentFailed:
    # Python marks a part of the line above with a line of carets.
    last = [line for line in output.strip().splitlines() if line.strip(" ^~")][-SHOWN_LINES:]
    if component.runtime.image and "ModuleNotFoundError" in output:
        last.append(_PACKAGES_OF_IMAGE)
    lines = "".join(f"\n  {line[:SHOWN_CHARACTERS]}" for line in last)
    return ComponentFailed(
        f"component {component.name}: its code cannot be loaded:{lines}", hop=component.name
    )
