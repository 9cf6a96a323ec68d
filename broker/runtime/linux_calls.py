"""Calls of the Linux kernel for a process that confines itself, which Python does not offer.

Each raises OSError with the name of the call, when the kernel refuses it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

NEW_MOUNTS = 0x0002_0000
NEW_USER = 0x1000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
READ_ONLY, NO_SETUID, NO_DEVICES = 0x1, 0x2, 0x4

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

_SYS_MOUNT_SETATTR = 442  # It has this number on every architecture.
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_CAPABILITY_VERSION = 0x2008_0522


def unshare(namespaces: int) -> None:
    """Enter new namespaces; a user keeps its id in a new user namespace."""
    user, group = os.geteuid(), os.getegid()
    call("unshare", namespaces)
    if namespaces & NEW_USER:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")


def keep_mounts_private() -> None:
    """Let nothing that is mounted from here on be seen outside of the namespace."""
    mount("none", Path("/"), "", MS_REC | MS_PRIVATE)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def forbid_new_privileges() -> None:
    """Let no program that this process starts get more rights than the process, as by setuid."""
    if not sys.platform.startswith("linux"):
        return
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def python_folders() -> list[Path]:
    """Return the folders of this Python and of its packages."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    # This package may be one of a working copy, which an import hook finds.
    own = str(Path(__file__).parents[2])
    return [Path(path).absolute() for path in (own, *prefixes, *sys.path) if path]


def drop_capabilities() -> None:
    """Give up all capabilities, for good without new privileges."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    call("capset", header, none)


def set_attributes(target: Path, attributes: int) -> None:
    """Set attributes of a mount, and of those below: ``READ_ONLY`` and others."""
    wanted = _MountAttributes(attr_set=attributes)
    call(
        "syscall",
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_long(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_long(_AT_RECURSIVE),
        ctypes.byref(wanted),
        ctypes.c_size_t(ctypes.sizeof(wanted)),
    )


def mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    """Mount a file system, or bind a folder; see ``mount(2)``."""
    call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )


def call(name: str, *arguments: object) -> None:
    """Call a function of the C library that returns -1 when it fails."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    # One write: the kernel takes the whole map at once.
    Path(path).write_text(text, encoding="ascii")
