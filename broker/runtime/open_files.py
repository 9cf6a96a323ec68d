"""The number of files and sockets that a process may have open."""

from __future__ import annotations

import resource

_UNLIMITED = 1 << 20


def raise_file_limit() -> int:
    """Raise the limit of open files as far as this user may, and return it.

    Many systems begin with 1,024, the number that ``select`` supports; nothing here uses that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _UNLIMITED if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # macOS allows fewer than it says
        return soft
    return wanted
