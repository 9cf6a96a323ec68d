"""Rotation of the platform's keys, without a request that fails.

A new key is published first. It is used when all brokers say that they know it, and not before any
of them would read the keys again for a token of a key that it does not know. So a broker that has
not answered, because it is busy or has just started, opens the new tokens as well. A replaced
sealing key stays until no event can have its tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from broker.dispatch.usage import Usage, ask_usage
from broker.nats.bus import Bus
from broker.storage.key_encryption import WrappedKey
from broker.storage.new_keys import encoded_sealing_key, new_data_key, new_id, write_ring
from broker.storage.platform_keys import REFRESH_S
from broker.storage.resealing import Resealing
from broker.storage.store import Store
from kubefox import key_ring
from kubefox.delivery import CONTEXT_LIFE_S
from kubefox.errors import Conflict, FoxError, RevisionConflict, Unavailable
from kubefox.key_ring import KeyKind, KeyRing, KeysStatus, Resealed, SealingKey

logger = logging.getLogger(__name__)

SETTLE_S = 1.5 * REFRESH_S
"""How long a key is published before it is used, at least."""
KNOWN_TIMEOUT_S = 30.0
UPKEEP_S = 3_600.0
PART_RECORDS = 2_000
"""Revisions that one request encrypts again at most."""
_UPKEEP_RECORDS = 500
_FORGOTTEN_S = 600.0
_NOTE_EVERY_S = 86_400.0


class KeyRotation:
    """Rotates the keys; for the control plane. Each change of the keys is a compare-and-set.

    Args:
        bus: Connection to use.
        store: Of this process.
        settle_s: How long a key is published before it is used, at least.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        bus: Bus,
        store: Store,
        *,
        settle_s: float = SETTLE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._bus = bus
        self._store = store
        self._keys = store.keys
        self._settle_s = settle_s
        self._now = now
        self._resealing = Resealing(bus, store.sealed_records)

    async def status(self) -> KeysStatus:
        """Return the keys as they are stored, without their content."""
        await self._keys.reload()
        return key_ring.status_of(self._keys.ring, self._keys.revision)

    async def rotate(self, kind: KeyKind, if_match: int | None = None) -> KeysStatus:
        """Replace a key, and return once the new one is used.

        Args:
            kind: Which key.
            if_match: Revision of the keys that the caller expects; None accepts any.

        Raises:
            RevisionConflict: The keys have another revision, or were changed meanwhile.
            Conflict: Records are still encrypted with the data key before the current one.
            InvalidRequest: The key-encryption key cannot be replaced, or is missing.
            Unavailable: A process does not know the new key; the current one stays.
        """
        await self._check(if_match)
        match kind:
            case KeyKind.SEALING:
                await self._rotate_sealing_key()
            case KeyKind.DATA:
                await self._rotate_data_key()
            case KeyKind.KEY_ENCRYPTION:
                await self._rotate_key_encryption_key()
        logger.info("replaced the %s key", kind.value)
        return await self.status()

    async def drop_replaced(self, if_match: int | None = None) -> KeysStatus:
        """Remove all replaced sealing keys at once: events with their tokens fail from now on.

        Raises:
            RevisionConflict: The keys have another revision, or were changed meanwhile.
        """
        await self._check(if_match)
        await self._write(key_ring.without_sealing_keys_before(self._keys.ring, float("inf")))
        return await self.status()

    async def reseal(self, limit: int = PART_RECORDS) -> Resealed:
        """Encrypt records with the current data key; when none is left, remove replaced data keys.

        Raises:
            RevisionConflict: The keys were changed meanwhile.
            Unavailable: NATS does not answer.
        """
        await self._keys.reload()
        ring = self._keys.ring
        if not ring.is_resealing:
            return Resealed()
        found = await self._resealing.find(ring.data_key)
        part = found[:limit]
        unreadable = await self._resealing.renew(part)
        left = len(found) - len(part)
        if not left and len(part) == unreadable:
            await self._write(key_ring.resealed(ring))
        # A record that was changed meanwhile is found by the next look.
        return Resealed(renewed=len(part) - unreadable, left=left or len(part) - unreadable)

    @contextlib.asynccontextmanager
    async def keeping_up(self, pause_s: float = UPKEEP_S) -> AsyncIterator[None]:
        """Finish interrupted rotations, and remove what no event can need, until the context ends.

        The work is not cancelled: nats-py sends its requests through ``asyncio.wait_for``, which on
        Python 3.11 loses a cancellation that comes together with the answer.
        """
        stopping = asyncio.Event()
        task = asyncio.create_task(self._run_upkeep(stopping, pause_s), name="upkeep of the keys")
        try:
            yield
        finally:
            stopping.set()
            await task

    async def _run_upkeep(self, stopping: asyncio.Event, pause_s: float) -> None:
        while not stopping.is_set():
            try:
                await self.keep_up(stopping)
            except RevisionConflict:
                continue  # Another process has changed the keys: look again.
            except FoxError as error:
                logger.warning("the upkeep of the platform's keys failed: %s", error)
            except Exception:
                logger.exception("the upkeep of the platform's keys failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stopping.wait()

    async def keep_up(self, stopping: asyncio.Event) -> None:
        """Do once what is due; see ``keeping_up``."""
        await self._keys.reload()
        renewed, left = 0, 1
        while left and not stopping.is_set():
            part = await self.reseal(_UPKEEP_RECORDS)
            renewed, left = renewed + part.renewed, part.left
        if renewed:
            logger.info("encrypted %d revisions of records with the current data key", renewed)
        published = key_ring.published_sealing_key(self._keys.ring)
        if published is not None and published.created_at_s < self._now() - _FORGOTTEN_S:
            await self._rotate_sealing_key()
        answers = await ask_usage(self._bus) or []
        used = frozenset[str]().union(*(answer.keys_in_use for answer in answers))
        ring = key_ring.noting_use(self._keys.ring, used, now_s=self._now(), every_s=_NOTE_EVERY_S)
        ring = key_ring.without_sealing_keys_before(ring, self._now() - CONTEXT_LIFE_S)
        if ring != self._keys.ring:
            await self._write(ring)
        await self._resealing.erase_expired()

    async def _check(self, if_match: int | None) -> None:
        await self._keys.reload()
        revision = self._keys.revision
        if if_match is not None and if_match != revision:
            raise RevisionConflict(
                f"the platform's keys have revision {revision}, not {if_match}: read them again"
            )

    async def _rotate_sealing_key(self) -> None:
        new = key_ring.published_sealing_key(self._keys.ring)
        if new is None:
            new = self._new_sealing_key()
            await self._write(key_ring.with_sealing_key(self._keys.ring, new))
        await self._wait_known(new.id)
        now_s = self._now()
        await self._write(key_ring.using_sealing_key(self._keys.ring, new.id, now_s=now_s))

    def _new_sealing_key(self) -> SealingKey:
        key_id = new_id()
        name = key_ring.sealing_key_name(key_id)
        sealed = self._keys.encrypt(encoded_sealing_key(), name)
        return SealingKey(id=key_id, sealed=sealed, created_at_s=self._now())

    async def _rotate_data_key(self) -> None:
        ring = self._keys.ring
        if ring.is_resealing:
            raise Conflict(
                "the secrets of some records are not encrypted with the current data key yet: "
                "POST /v1/keys/reseal until nothing is left"
            )
        new = ring.data_keys[-1]
        if new.id == ring.data_key:
            new, _ = await new_data_key(self._keys.encryption)
            await self._write(key_ring.with_data_key(ring, new))
        await self._wait_known(new.id)
        ring, sealed = self._keys.ring, {}
        for key in ring.sealing_keys:
            name = key_ring.sealing_key_name(key.id)
            content = self._keys.decrypt(key.sealed, name)
            sealed[key.id] = self._keys.encrypt(content, name, new.id)
        await self._write(key_ring.using_data_key(ring, new.id, sealed))

    async def _rotate_key_encryption_key(self) -> None:
        encryption, ring = self._keys.encryption, self._keys.ring
        await encryption.renew(ring.data_keys[-1].wrapped_by)
        wrapped = {}
        for key in ring.data_keys:
            name = key_ring.data_key_name(key.id)
            content = await encryption.unwrap(WrappedKey(key.wrapped, key.wrapped_by), name)
            wrapped[key.id] = await encryption.wrap(content, name)
        await self._write(key_ring.rewrapped(ring, wrapped))
        await encryption.discard_all_but_newest()

    async def _write(self, ring: KeyRing) -> None:
        """Store a ring in place of the one that this process has, and take it over."""
        revision = await write_ring(self._bus, ring, self._keys.revision)
        await self._keys.load(key_ring.encode(ring), revision)

    async def _wait_known(self, key_id: str) -> None:
        """Wait until all brokers know a key.

        Raises:
            Unavailable: Some do not learn it in time.
        """
        await asyncio.sleep(self._settle_s)
        answers: list[Usage] | None = None
        ends_s = time.monotonic() + KNOWN_TIMEOUT_S
        while time.monotonic() < ends_s:
            answers = await ask_usage(self._bus)
            if answers is not None and all(key_id in answer.keys for answer in answers):
                return
        found = answers or []
        missing = sum(key_id not in answer.keys for answer in found)
        raise Unavailable(
            f"{missing} of {len(found)} processes of the platform do not know the new key, so "
            "the current one stays: their logs say why, perhaps their key file lacks a key. Then "
            "rotate again"
        )
