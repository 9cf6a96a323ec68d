"""The logins of pods to NATS: each start of a pod gets credentials of its own.

All credentials of a component version have the same key, so one revocation ends all of them when
the version is not in use any more. That key is derived from the key of the account and a salt. A
pod runner that takes over pods of a cluster knows the salt, and so can end their credentials too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from broker.nats.access import Access
from broker.nats.credentials import permissions
from broker.nats.credentials.login import Login
from broker.nats.credentials.nkeys import KeyPair
from broker.runtime.tokens import new_token
from kubefox import subjects
from kubefox.distill import Version
from pods.base import PodSpec

logger = logging.getLogger(__name__)

REVOKE_S = 1.0
"""Versions that go out of use within this time are revoked together."""

Revoke = Callable[[Collection[str]], Awaitable[None]]
"""Revokes the credentials of users, given by their public keys."""


class Logins(Protocol):
    """Makes the logins of pods; what a driver needs of ``PodLogins``."""

    @property
    def issuer(self) -> str:
        """Another text if the server or the account of the logins is another one."""
        ...

    def salt(self, version: Version) -> str:
        """Return the text that, with the key of the account, makes the key of a version."""
        ...

    def use_salt(self, version: Version, salt: str) -> None:
        """Go on with the salt of another pod runner for a version, unless it is empty."""
        ...

    def log_in(self, spec: PodSpec) -> Login:
        """Return the login of one start of a pod."""
        ...

    def log_in_first(self, spec: PodSpec) -> Login:
        """Return the login that all pods of a version have until each gets its own."""
        ...

    def retire(self, version: Version) -> None:
        """Note that a version is not in use any more; its credentials may be revoked."""
        ...


class PodLogins:
    """Makes the logins of the pods of one runner.

    Args:
        access: Signs the credentials.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._salts: dict[Version, str] = {}
        self._users: dict[Version, KeyPair] = {}
        # Public keys that were in use before the salt of another pod runner was known.
        self._replaced: defaultdict[Version, set[str]] = defaultdict(set)
        self._retired: asyncio.Queue[str] = asyncio.Queue()

    @property
    def issuer(self) -> str:
        """Another text if the server or the account of the logins is another one."""
        return self._access.issuer

    def salt(self, version: Version) -> str:
        """Return the text that, with the key of the account, makes the key of a version."""
        return self._salts.setdefault(version, new_token())

    def use_salt(self, version: Version, salt: str) -> None:
        """Go on with the salt of another pod runner for a version, unless it is empty."""
        if salt and salt != self._salts.get(version):
            self._salts[version] = salt
            if user := self._users.pop(version, None):
                self._replaced[version].add(user.public)

    def log_in(self, spec: PodSpec) -> Login:
        """Return the login of one start of a pod."""
        # A restarted pod keeps its id, but must not receive replies to the process before it.
        process_id = subjects.pod_process_id(spec.id, new_token())
        rights = permissions.for_pod(process_id, spec.id, spec.sender, spec.dependencies)
        return self._access.login(process_id, rights, self._user(spec.version))

    def log_in_first(self, spec: PodSpec) -> Login:
        """Return the login that all pods of a version have until each gets its own."""
        process_id = subjects.pod_process_id("start", new_token())
        rights = permissions.for_starting_pod(process_id, spec.sender)
        return self._access.login(process_id, rights, self._user(spec.version))

    def retire(self, version: Version) -> None:
        """Note that a version is not in use any more; its credentials may be revoked."""
        salt, user = self._salts.pop(version, None), self._users.pop(version, None)
        users = self._replaced.pop(version, set())
        if salt is None or not self._access.makes_users:
            return
        user = user or self._access.derive_user(salt)
        for public in {*users, user.public}:
            self._retired.put_nowait(public)

    def _user(self, version: Version) -> KeyPair:
        user = self._users.get(version)
        if user is None:
            user = self._users[version] = self._access.derive_user(self.salt(version))
        return user

    async def revoke_retired(self, revoke: Revoke, wait_s: float = REVOKE_S) -> None:
        """Revoke the credentials of retired versions until this is cancelled.

        Args:
            revoke: Revokes those of some users.
            wait_s: See ``REVOKE_S``.
        """
        while True:
            users = [await self._retired.get()]
            await asyncio.sleep(wait_s)
            while not self._retired.empty():
                users.append(self._retired.get_nowait())
            try:
                await revoke(users)
            except OSError as error:
                logger.error(  # noqa: TRY400 - the message says what failed
                    "NATS credentials of %d component versions that are gone cannot be revoked: %s",
                    len(users),
                    error,
                )
