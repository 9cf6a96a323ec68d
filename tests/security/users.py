"""Other users of this machine, whom only root can act for."""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

NOBODY = 65_534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")


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
