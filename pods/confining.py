"""The rights of each pod of this machine: its limits, its user, and the folders that it sees."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from broker.runtime import allowed_namespaces
from broker.runtime.confinement import Confinement
from kubefox.errors import InternalError, InvalidRequest
from pods.pod_users import PodUsers
from pods.rights import PodRights

logger = logging.getLogger(__name__)


class Confining:
    """Returns the confinement of each pod.

    Args:
        data_dir: Data folder of the platform.
        rights: Rights of the pods.

    Raises:
        InvalidRequest: The pods have users of their own, and this process is not root's.
    """

    def __init__(self, data_dir: Path, rights: PodRights) -> None:
        if rights.uids and os.geteuid() != 0:
            raise InvalidRequest("FOX_POD_UIDS is set: only root can run pods as other users")
        self._rights = rights
        self._users = PodUsers(rights.uids)
        self._data_dir = data_dir
        self._hidden: tuple[str, ...] | None = None
        self._counts_processes = False
        self._finding = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def confined(self, bundle: Path, work: Path) -> AsyncIterator[Confinement]:
        """Return what a pod may do; it has a user of its own for the length of the context.

        Raises:
            FoxError: No user is free, or this system allows pods no users of their own.
        """
        hidden = await self._find_hidden()
        uid = self._users.take()
        try:
            yield msgspec.structs.replace(
                self._rights.limits,
                uid=uid,
                counts_processes=bool(uid) or self._counts_processes,
                hidden=hidden,
                readable=(str(bundle),),
                writable=(str(work),),
            )
        finally:
            self._users.release(uid)

    async def _find_hidden(self) -> tuple[str, ...]:
        """Return the folders to hide; a try is made once, because the system may forbid it."""
        async with self._finding:
            if self._hidden is None:
                self._hidden = await asyncio.to_thread(self._try_hiding)
        if self._rights.uids and not self._hidden:
            raise InternalError(
                "pods cannot run as the users of FOX_POD_UIDS: this needs FOX_POD_HIDE_FOLDERS, "
                "and a system that allows mount namespaces"
            )
        return self._hidden

    def _try_hiding(self) -> tuple[str, ...]:
        if not self._rights.hides_folders:
            return ()
        allowed = allowed_namespaces.allowed()
        self._counts_processes = allowed.counts_processes
        if allowed.hides_folders:
            return tuple(str(folder) for folder in [self._data_dir.absolute(), *_home()])
        logger.warning(
            "pods see the files of the platform's user: this system allows no mount namespace, see "
            "the page on security"
        )
        return ()


def _home() -> list[Path]:
    """Return the home folder of this user, unless it is that of the whole system."""
    home = Path(os.path.expanduser("~")).absolute()  # noqa: PTH111 - it is "~" without a home
    return [home] if home.is_dir() and home != Path("/") else []
