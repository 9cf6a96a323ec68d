"""Asks a component's own code what it declares, in a clean process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from fox.source.app import ComponentSource
from model.component import ComponentDefinition
from model.digest import FileMode, SourceFile
from model.errors import ComponentFailed, DeadlineExceeded

TIMEOUT_S = 30.0
CONCURRENT = 2
SHOWN_LINES = 8
SHOWN_CHARACTERS = 500
# Equal code must declare the same for everyone, so it sees as little of the deployer as can be.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")


def export_definitions(
    components: Sequence[ComponentSource], *, timeout_s: float = TIMEOUT_S
) -> dict[str, ComponentDefinition]:
    """Return what each component declares, by name.

    Args:
        components: All are asked, two at a time.
        timeout_s: For one component.

    Raises:
        ComponentFailed: One cannot be loaded; the message ends with what Python said.
        DeadlineExceeded: One took too long.
    """
    definitions = {}
    for start in range(0, len(components), CONCURRENT):
        with tempfile.TemporaryDirectory(prefix="fox-export-") as folder:
            some = components[start : start + CONCURRENT]
            definitions.update(_export(some, Path(folder), timeout_s))
    return definitions


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
) -> dict[str, ComponentDefinition]:
    deadline_s = time.monotonic() + timeout_s
    with ExitStack() as stack:
        # All are started before the first is waited for.
        asked = [(each, stack.enter_context(_asked(each, folder))) for each in components]
        return {each.name: _answer(each, process, folder, deadline_s) for each, process in asked}


@contextmanager
def _asked(component: ComponentSource, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the export; whatever it started is gone when the context ends."""
    bundle = folder / component.name
    bundle.mkdir()
    materialise(component.files, bundle)
    command = [sys.executable, "-I", "-B", "-m", "fox.kit.export"]
    # Files, not pipes: nobody has to read them for the process to get on.
    with _out(component, folder).open("wb") as out, _err(component, folder).open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - this Python, without a shell
            [*command, str(bundle), component.name, component.runtime.entry],
            cwd=bundle,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
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


def _answer(
    component: ComponentSource, process: subprocess.Popen[bytes], folder: Path, deadline_s: float
) -> ComponentDefinition:
    try:
        code = process.wait(max(0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(
            f"component {component.name}: its code was not loaded in time; "
            "it must only declare, not serve, when it is imported",
            hop=component.name,
        ) from error
    if code != 0:
        raise _failed(component, _err(component, folder).read_text(errors="replace"))
    try:
        return msgspec.json.decode(_out(component, folder).read_bytes(), type=ComponentDefinition)
    except msgspec.MsgspecError as error:
        raise _failed(component, f"its definition cannot be read: {error}") from error


def _out(component: ComponentSource, folder: Path) -> Path:
    return folder / f"{component.name}.json"


def _err(component: ComponentSource, folder: Path) -> Path:
    return folder / f"{component.name}.log"


def _failed(component: ComponentSource, said: str) -> ComponentFailed:
    last = said.strip().splitlines()[-SHOWN_LINES:]
    lines = "".join(f"\n  {line[:SHOWN_CHARACTERS]}" for line in last)
    return ComponentFailed(
        f"component {component.name}: its code cannot be loaded:{lines}", hop=component.name
    )
