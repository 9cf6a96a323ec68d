"""The rights of a process with other people's code: it confines itself before it loads that code.

The process that starts it decides, and passes a ``Confinement`` in a variable of the environment.
Nothing here can be undone by the confined process: limits are hard, and no program that it runs
gets more rights than it has itself.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import msgspec

from broker.runtime import hidden_folders, linux_calls

VARIABLE = "FOX_CONFINEMENT"

_PRIVATE_UMASK = 0o077


class Confinement(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one process and of those that it starts.

    Attributes:
        memory_bytes: Private memory of each process; 0 sets no limit.
        open_files: Open files of each process; 0 sets no limit.
        cpu_s: CPU time of each process, in whole seconds; 0 sets no limit.
        file_bytes: Size of each file that is written; 0 sets no limit.
        uid: Id of the user, and of the group, as which the process goes on, if root starts it; 0
            keeps the user.
        processes: Processes and threads of this process's user, itself included; 0 sets no limit.
        counts_processes: Whether these are its own: it has a user of its own, or the system counts
            those of its user namespace. Otherwise ``processes`` sets no limit, because this user's
            other processes would count.
        hidden: Folders that are empty for the process.
        readable: Folders within them that it may read.
        writable: Folders within them that it may write; they become the user's.
    """

    memory_bytes: int = 0
    open_files: int = 0
    cpu_s: int = 0
    file_bytes: int = 0
    uid: int = 0
    processes: int = 0
    counts_processes: bool = False
    hidden: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()


NO_LIMITS = Confinement()


def encode(confinement: Confinement) -> str:
    """Return the value of ``VARIABLE``."""
    return msgspec.json.encode(confinement).decode()


def decode(text: str) -> Confinement:
    """Return what ``encode`` has written.

    Raises:
        msgspec.MsgspecError: It is not valid.
    """
    return msgspec.json.decode(text, type=Confinement)


def confine_self(confinement: Confinement) -> None:
    """Confine this process, and all that it will start.

    Files that it makes are its user's alone; it writes no core file, which would hold secrets.

    Raises:
        OSError: The kernel refused.
    """
    os.umask(_PRIVATE_UMASK)
    _limit(resource.RLIMIT_CORE, 0)
    if confinement.hidden:
        _hide_folders(confinement)
    if confinement.uid:
        _become(confinement)
    elif confinement.hidden:
        # By those of root, or of the user namespace, this process could take the folders back.
        linux_calls.drop_capabilities()
    # A limit of processes from before would hold for all of this user's: each namespace keeps it
    # for the one above.
    limit_self(confinement)
    linux_calls.forbid_new_privileges()


def limit_self(confinement: Confinement) -> None:
    """Lower the limits of this process, and of all that it will start; nothing raises them."""
    limits = {
        # RLIMIT_AS counts reserved addresses as well: with 32 threads, 540 MiB for 60 MiB in use.
        resource.RLIMIT_DATA: confinement.memory_bytes,
        resource.RLIMIT_NOFILE: confinement.open_files,
        resource.RLIMIT_CPU: confinement.cpu_s,
        resource.RLIMIT_FSIZE: confinement.file_bytes,
        resource.RLIMIT_NPROC: confinement.processes if confinement.counts_processes else 0,
    }
    for kind, value in limits.items():
        if value:
            _limit(kind, value)


def _hide_folders(confinement: Confinement) -> None:
    hidden, readable, writable = (
        [Path(name) for name in names]
        for names in (confinement.hidden, confinement.readable, confinement.writable)
    )
    if confinement.uid:
        # That user may not pass them: an empty folder that it may pass takes their place.
        hidden += hidden_folders.closed_parents([*readable, *writable])
    hidden_folders.hide(hidden, readable, writable, keeps_user=not confinement.uid)


def _become(confinement: Confinement) -> None:
    """Go on as another user, without a way back: the kernel takes all capabilities of root."""
    uid = confinement.uid
    for folder in confinement.writable:
        os.chown(folder, uid, uid)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # The kernel hides /proc/self from a process that has changed its user; libraries read it.
    linux_calls.call("prctl", linux_calls.PR_SET_DUMPABLE, 1, 0, 0, 0)


def _limit(kind: int, value: int) -> None:
    """Lower a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(kind)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (least, least))
