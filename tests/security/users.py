"""Other users of this machine, whom only root can act for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from broker.runtime import confinement

NOBODY = 65_534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


def _others_can_read(folder: Path) -> bool:
    """Return whether any user can enter a folder and the folders above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


# With the umask 077, a checkout and its virtual environment belong to their owner alone.
needs_readable_checkout = pytest.mark.skipif(
    os.geteuid() != 0
    or not _others_can_read(Path(sys.executable).parent)
    or not _others_can_read(Path(confinement.__file__).parent),
    reason="only root can act for another user, who must be able to read this checkout",
)

_AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from broker.runtime.confinement import Confinement, confine_self

folder, program = sys.argv[1:3]
confine_self(Confinement(
    hidden=(folder + "/missing",),
    writable=(folder,),
    uid=61_184,
))
os.chdir(folder + "/work")
os.execv(sys.executable, [sys.executable, "-P", "-c", program, folder, *sys.argv[3:]])
"""


def as_another_user(folder: Path, program: str, *arguments: str) -> list[str]:
    """Return a command by which root runs a Python program as another user.

    Tests that use it are marked with ``needs_readable_checkout``.

    Args:
        folder: Becomes that user's, and is the first argument of the program; the program runs in
            its folder ``work``.
        program: Its text.
        arguments: Further arguments.
    """
    python = (sys.executable, "-P", "-c")
    return [*python, _AS_ANOTHER_USER, str(folder), program, *arguments]


def succeeds_as_nobody(*command: str | Path) -> bool:
    """Return whether a program of the system succeeds when another user runs it."""
    done = subprocess.run(
        command,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=(),
        cwd="/",
        capture_output=True,
    )
    return done.returncode == 0


def call_as_nobody(function: Callable[[], object], groups: Sequence[int] = ()) -> str:
    """Call a function in a child of another user, and return the text of its exception."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # The thread of the time limit holds no lock that the child needs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            function()
        except BaseException as error:  # noqa: BLE001 - the parent judges it
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text
