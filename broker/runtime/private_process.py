"""Keep the files and core dumps of a process, and of those that it starts, from other users."""

from __future__ import annotations

import os
import resource

_PRIVATE_UMASK = 0o077


def keep_private() -> None:
    """Make new files this user's alone, and write no core files: they would hold keys and secrets.

    The limit of core files cannot be raised again.
    """
    os.umask(_PRIVATE_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
