"""Shares: made, revoked, and removed when they have ended."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

from broker.storage.store import Store
from control.stored_record import load
from control.transactions import OptimisticTransaction, in_transaction
from kubefox.errors import (
    Conflict,
    DeploymentNotFound,
    EnvironmentNotFound,
    FoxError,
    NotFound,
    Problem,
    ProblemsFound,
    Unavailable,
)
from kubefox.records import share_key
from kubefox.selection import Selection
from kubefox.share import MAX_SHARES, NewShare, Share, SignedShare, claims_of, sign
from routing.snapshot.route_bindings import selection_in
from routing.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

SWEEP_S = 30.0
"""How often shares that have ended are removed; they are worth nothing before that already."""
_NAME_BYTES = 8

Keys = Callable[[], Sequence[bytes]]
"""Returns the keys that sign and verify tokens, the one for new ones first."""


def no_keys() -> Sequence[bytes]:
    """Return the keys of a process that signs nothing."""
    return ()


class Shares:
    """Makes and revokes shares.

    Args:
        store: The control plane's data.
        transaction: The transaction of this process.
        keys: The keys of shares.
        now: Clock, Unix time in seconds.

    Attributes:
        keys: Returns the keys of shares.
    """

    def __init__(
        self,
        store: Store,
        *,
        transaction: OptimisticTransaction,
        keys: Keys = no_keys,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._transaction = transaction
        self.keys = keys
        self._now = now

    def get(self, name: str) -> Share:
        """Return one share.

        Raises:
            NotFound: It does not exist.
        """
        entry = self._store.snapshot.records.shares.get(name)
        if entry is None:
            raise _not_found(name)
        return entry.record

    @in_transaction
    async def create(self, new: NewShare) -> SignedShare:
        """Make a share, and return it with its token.

        Raises:
            DeploymentNotFound: The deployment does not exist.
            EnvironmentNotFound: The virtual environment does not exist.
            ProblemsFound: In the virtual environment, only what is released can be selected.
            Conflict: There are too many shares.
            Unavailable: This process has no key to sign with.
        """
        key = next(iter(self.keys()), None)
        if key is None:
            raise Unavailable("this control plane has no key to sign a share with")
        self._check(new)
        created_at_s = int(self._now())
        share = Share(
            name=secrets.token_hex(_NAME_BYTES),
            deployment=new.deployment,
            virtual_environment=new.virtual_environment,
            expires_at_s=created_at_s + new.ttl_s,
            created_at_s=created_at_s,
            host=new.host,
        )
        await self._transaction.write(share_key(share.name), share, None)
        return SignedShare(share=share, token=sign(claims_of(share), key))

    @in_transaction
    async def revoke(self, name: str) -> None:
        """Remove a share. Each HTTP process refuses it as soon as it has received the change.

        Raises:
            NotFound: The share does not exist.
        """
        if await load(self._store, share_key(name), Share) is None:
            raise _not_found(name)
        await self._transaction.delete(share_key(name))

    async def sweep(self, interval_s: float = SWEEP_S) -> None:
        """Remove the shares that have ended, again and again, until this is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            await self.try_remove_ended()

    async def try_remove_ended(self) -> None:
        """Remove the shares that have ended, or log why they cannot be removed now.

        To be called when a deployment or a virtual environment was deleted: its shares must not
        hold for another one that gets its name, perhaps of another app.
        """
        try:
            await self.remove_ended()
        except FoxError as error:
            logger.warning("shares that have ended are removed later: %s", error)

    async def remove_ended(self) -> int:
        """Remove the shares that have ended or that nothing can be selected by; return how many."""
        ended = list(_ended(self._store.snapshot, self._now()))
        for name in ended:
            await self._remove(name)
        return len(ended)

    @in_transaction
    async def _remove(self, name: str) -> None:
        # Another control process may have been faster.
        if await load(self._store, share_key(name), Share) is not None:
            await self._transaction.delete(share_key(name))

    def _check(self, new: NewShare) -> None:
        snapshot = self._store.snapshot
        if new.deployment not in snapshot.deployments:
            raise DeploymentNotFound(f"deployment {new.deployment} does not exist")
        policy = selection_in(new.virtual_environment, snapshot.records)
        if policy is None:
            raise EnvironmentNotFound(
                f"virtual environment {new.virtual_environment} does not exist"
            )
        if policy is Selection.RELEASED:
            problem = Problem(
                type="NotShareable",
                message=f"in virtual environment {new.virtual_environment}, only what is released "
                "can be selected: choose another one, or change its `selection` or `production`",
                path="virtual_environment",
            )
            raise ProblemsFound(f"deployment {new.deployment} cannot be shared", (problem,))
        if len(snapshot.records.shares) >= MAX_SHARES:
            raise Conflict(
                f"there are {MAX_SHARES} shares already: revoke some with `fox share --revoke`"
            )


def _ended(snapshot: Snapshot, now_s: float) -> Iterator[str]:
    for name, entry in snapshot.records.shares.items():
        share = entry.record
        if (
            share.expires_at_s <= now_s
            or share.deployment not in snapshot.deployments
            or share.virtual_environment not in snapshot.virtual_environments
        ):
            yield name


def _not_found(name: str) -> NotFound:
    return NotFound(f"share {name} does not exist")
