"""Find out once, in a child process, which namespaces this system lets a process make.

Some systems forbid user namespaces, such as containers with the usual seccomp profile. Root can
then still hide folders, but processes of one user can read the memory of each other. Since version
5.14 Linux counts the processes of a user in each user namespace apart, except those of root.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import msgspec

from broker.runtime import hidden_folders, linux_calls

_PROBE = """
import sys
from pathlib import Path
from broker.runtime import allowed_namespaces

sys.stdout.buffer.write(allowed_namespaces.try_here(Path(sys.argv[1])))
"""
_PROBE_S = 10
_USER_NAMESPACE = "/proc/self/ns/user"
_SELF_AND_CHILD = 2


class AllowedNamespaces(msgspec.Struct, frozen=True, kw_only=True):
    """The namespaces that this system allows.

    Attributes:
        refusal: Why a process cannot hide folders; empty if it can.
        has_user_namespace: Whether it gets a user namespace of its own, so that other processes of
            its user cannot read its memory.
        counts_processes: Whether a limit of processes counts those of this namespace only.
    """

    refusal: str = ""
    has_user_namespace: bool = False
    counts_processes: bool = False

    @property
    def hides_folders(self) -> bool:
        """Whether a process can hide folders."""
        return not self.refusal


@cache
def allowed() -> AllowedNamespaces:
    """Return what this system allows processes of this user. This blocks."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # noqa: S603 - this Python
                [sys.executable, "-P", "-c", _PROBE, folder],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return AllowedNamespaces(refusal=str(error))
    if done.returncode == 0:
        return msgspec.json.decode(done.stdout, type=AllowedNamespaces)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return AllowedNamespaces(refusal=lines[-1] if lines else f"exit code {done.returncode}")


def try_here(folder: Path) -> bytes:
    """Hide a folder from this process, and return what it has got, as JSON.

    For a process of its own: nothing of it can be undone.

    Raises:
        OSError: The system does not allow it.
    """
    before = Path(_USER_NAMESPACE).readlink()
    inner = folder / "inner"
    inner.mkdir()
    hidden_folders.hide([folder], [inner], [])
    has_user_namespace = Path(_USER_NAMESPACE).readlink() != before
    return msgspec.json.encode(
        AllowedNamespaces(
            has_user_namespace=has_user_namespace,
            counts_processes=has_user_namespace and _counts_processes(),
        )
    )


def _counts_processes() -> bool:
    """Return whether a limit of two processes allows this one a child, and no second one."""
    resource.setrlimit(resource.RLIMIT_NPROC, (_SELF_AND_CHILD, _SELF_AND_CHILD))
    child = _fork_sleeper()
    if child is None:
        # Other processes of this user count as well.
        return False
    second = _fork_sleeper()
    for pid in filter(None, (child, second)):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return second is None


def _fork_sleeper() -> int | None:
    """Return the id of a child that waits to be killed; None if the limit is reached."""
    try:
        child = os.fork()
    except BlockingIOError:
        return None
    if child == 0:
        linux_calls.call("prctl", linux_calls.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        while True:
            signal.pause()
    return child
