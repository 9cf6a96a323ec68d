"""Linux namespaces for a process that loads other people's code: no network, few files.

The process enters them itself, before it loads that code, and then drops all its capabilities. It
gets a network without any interface, a list of processes with itself alone, and a file system that
has only what ``enter`` names. A user namespace allows this without any right on the machine; some
systems forbid it, such as containers with the usual seccomp profile.

A process in ``chroot`` may make no user namespace (``user_namespaces(7)``), so the code cannot get
the capabilities back.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from broker.runtime import linux_calls as linux

_CLONE_NEWUTS = 0x0400_0000
_CLONE_NEWIPC = 0x0800_0000
_CLONE_NEWPID = 0x2000_0000
_CLONE_NEWNET = 0x4000_0000
_ALL = (
    linux.NEW_USER
    | linux.NEW_MOUNTS
    | _CLONE_NEWNET
    | _CLONE_NEWPID
    | _CLONE_NEWIPC
    | _CLONE_NEWUTS
)

_SIGNALED = 128

# What programs, shared libraries and Python need of the system; nothing in it is private.
_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/os-release"),
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/ssl/certs", "/etc/pki/tls/certs"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108 - of the new file system, which is this process's own


def enter(root: Path, readable: Sequence[Path], writable: Sequence[Path], *, size: str) -> None:
    """Move this process to namespaces of its own; it returns in a child, and its parent waits.

    The parent ends with the exit code of the child, and the child is killed with its parent. The
    process must have one thread, and no descriptor of a folder.

    Args:
        root: Empty folder, on which the new file system is mounted; nothing is written to it.
        readable: Files and folders that stay, besides Python and the system's programs and
            libraries; they become read-only.
        writable: Folders that are empty in the new file system, whatever they contain outside.
        size: Limit of the new file system, which is in memory, such as ``64m``.

    Raises:
        OSError: The system allows no such namespaces. What was entered before it failed stays.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, "only Linux has namespaces")
    linux.unshare(_ALL)
    _continue_in_child()
    folder = Path.cwd()
    _mount_root(root, [*map(Path, _SYSTEM), *linux.python_folders(), *readable], writable, size)
    os.chroot(root)
    os.chdir(folder if folder.is_dir() else "/")
    linux.drop_capabilities()


def _continue_in_child() -> None:
    """Fork: only a child is in the new namespace of processes, and all in it die with the first."""
    child = os.fork()
    if child == 0:
        linux.call("prctl", linux.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        return
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else _SIGNALED - code)


def _mount_root(root: Path, readable: Iterable[Path], writable: Sequence[Path], size: str) -> None:
    linux.keep_mounts_private()
    linux.mount(
        "tmpfs",
        root,
        "tmpfs",
        linux.MS_NOSUID | linux.MS_NODEV,
        f"size={size},mode=755",
    )
    for path in _outermost(readable):
        target = _bind(path, root)
        linux.set_attributes(target, linux.READ_ONLY | linux.NO_SETUID | linux.NO_DEVICES)
    for device in map(Path, _DEVICES):
        _bind(device, root)
    for folder in (*map(Path, _SCRATCH), *writable):
        _below(root, folder).mkdir(parents=True, exist_ok=True)
    proc = root / "proc"
    proc.mkdir()
    # In some containers /proc may not be mounted anew; then there is none. It is read-only, because
    # the superuser writes settings of the kernel there without any capability.
    with suppress(OSError):
        linux.mount(
            "proc",
            proc,
            "proc",
            linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC,
        )


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Return those that exist and are below no other, under the names of links and of targets."""
    existing = [path.absolute() for path in paths if path.exists()]
    named = sorted({*existing, *(path.resolve() for path in existing)})
    return [path for path in named if not any(other in path.parents for other in named)]


def _bind(path: Path, root: Path) -> Path:
    target = _below(root, path)
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.mount(str(path), target, "", linux.MS_BIND | linux.MS_REC)
    return target


def _below(root: Path, path: Path) -> Path:
    """Return where an absolute path lies in a file system that is mounted on ``root``."""
    return root / path.relative_to("/")
