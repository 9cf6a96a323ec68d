"""The platform's keys in one process: opened from their record, and kept up to date.

The process of the control plane creates the keys; all others wait for them. The watch of the
bucket brings each change in its order, so a process knows a key before it meets a record that is
encrypted with it. A token may overtake the watch; for a key that is not known yet, the record is
read again, at most once in ``REFRESH_S``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable

from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors
from broker.storage.cipher import Cipher
from broker.storage.key_encryption import KeyEncryption, WrappedKey
from broker.storage.new_keys import create_keys
from broker.storage.records_bucket import STREAM, open_bucket, subject_of
from kubefox import context, key_ring
from kubefox.context import EventContext
from kubefox.errors import InvalidRequest, Unavailable
from kubefox.key_ring import DataKey, KeyRing
from kubefox.records import PLATFORM_KEYS

logger = logging.getLogger(__name__)

REFRESH_S = 1.0
"""The record is read for an unknown key at most this often: anybody can send a forged token."""
WAIT_S = 0.2
_REMIND_S = 10.0


class PlatformKeys:
    """The keys that this process knows; made by ``open_keys``.

    Args:
        bus: Connection to read the record with.
        encryption: Unwraps the data keys.

    Attributes:
        encryption: Unwraps the data keys.
        revision: Revision of the record.
    """

    def __init__(self, bus: Bus, encryption: KeyEncryption) -> None:
        self._bus = bus
        self.encryption = encryption
        self._ring: KeyRing | None = None
        self.revision = 0
        # Also those that were removed: an entry that was on its way may still need them.
        self._ciphers: dict[str, Cipher] = {}
        self._sealing: dict[str, bytes] = {}
        self._listeners: list[Callable[[], None]] = []
        self._loading = asyncio.Lock()
        self._refreshed_s = -REFRESH_S

    @property
    def ring(self) -> KeyRing:
        """The keys as they are stored."""
        if self._ring is None:
            raise RuntimeError("the keys are not loaded: use open_keys")
        return self._ring

    @property
    def known(self) -> frozenset[str]:
        """Ids of all keys of the record."""
        data = (key.id for key in self.ring.data_keys)
        return frozenset((*self._sealing, *data))

    @property
    def sealing_keys(self) -> tuple[bytes, ...]:
        """The sealing keys, the current one first."""
        current = self.ring.sealing_key
        others = (key for key_id, key in self._sealing.items() if key_id != current)
        return self._sealing[current], *others

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change of the keys."""
        self._listeners.append(listener)

    def seal(self, event_context: EventContext) -> str:
        """Return the token of a context, sealed with the current key."""
        key_id = self.ring.sealing_key
        return context.seal(event_context, key_id, self._sealing[key_id])

    def unseal(self, token: str) -> EventContext:
        """Return the context of a token.

        Raises:
            InvalidEvent: It was not sealed with a key that this process knows.
        """
        return context.unseal(token, self._sealing)

    def knows_key_of(self, token: str) -> bool:
        """Return whether this process knows the key that a token names."""
        return context.sealing_key_of(token) in self._sealing

    def encrypt(self, content: bytes, name: str, data_key: str = "") -> str:
        """See ``broker.storage.sealed_records.DataCipher``; ``data_key`` may name another key."""
        key_id = data_key or self.ring.data_key
        return f"{key_id}.{self._ciphers[key_id].seal(content, name)}"

    def decrypt(self, sealed: str, name: str) -> bytes:
        """See ``broker.storage.sealed_records.DataCipher``.

        Raises:
            InvalidEvent: The content was changed, or encrypted under another name.
            Unavailable: This process does not have the key.
        """
        key_id, _, ciphertext = sealed.partition(".")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise Unavailable(
                f"{name} is encrypted with data key {key_id}, which the platform does not have: "
                f"restore a backup in which {PLATFORM_KEYS} is as new as the other records"
            )
        return cipher.open(ciphertext, name)

    async def load(self, value: bytes, revision: int) -> None:
        """Take over a revision of the record, unless a later one is known.

        Raises:
            InvalidRequest: A data key cannot be unwrapped.
            InvalidEvent: The record cannot be read.
        """
        async with self._loading:
            if revision <= self.revision:
                return
            ring = key_ring.decode(value)
            for key in ring.data_keys:
                await self._open_data_key(key)
            self._sealing = {
                key.id: base64.b64decode(
                    self.decrypt(key.sealed, key_ring.sealing_key_name(key.id))
                )
                for key in ring.sealing_keys
            }
            self._ring, self.revision = ring, revision
        for listener in self._listeners:
            listener()

    async def restart(self) -> None:
        """Read the record, which may be older: the bucket may have been restored or replaced.

        Raises:
            NatsUnavailable: NATS does not answer.
            InvalidRequest: A data key cannot be unwrapped.
        """
        self.revision = 0
        await self.reload()

    async def refresh(self) -> None:
        """Read the record again, unless that was done within ``REFRESH_S``.

        Raises:
            NatsUnavailable: NATS does not answer.
        """
        now_s = time.monotonic()
        if now_s - self._refreshed_s < REFRESH_S:
            return
        self._refreshed_s = now_s
        await self.reload()

    async def reload(self) -> bool:
        """Read the record; return whether there is one.

        Raises:
            NatsUnavailable: NATS does not answer.
            InvalidRequest: A data key cannot be unwrapped.
        """
        with translated_errors(self._bus, f"read {PLATFORM_KEYS}"):
            try:
                found = await self._bus.jetstream().get_msg(
                    STREAM, subject=subject_of(PLATFORM_KEYS)
                )
            except NotFoundError:
                return False
        await self.load(found.data or b"", found.seq or 0)
        return True

    async def _open_data_key(self, key: DataKey) -> None:
        wrapped = WrappedKey(key.wrapped, key.wrapped_by)
        name = key_ring.data_key_name(key.id)
        if key.id not in self._ciphers:
            self._ciphers[key.id] = Cipher(await self.encryption.unwrap(wrapped, name))
        elif key not in self.ring.data_keys:
            try:
                await self.encryption.unwrap(wrapped, name)
            except InvalidRequest as error:
                logger.error("this process could not start again: %s", error)  # noqa: TRY400


async def open_keys(bus: Bus, encryption: KeyEncryption, *, creates: bool) -> PlatformKeys:
    """Return the platform's keys.

    Args:
        bus: Connection to use.
        encryption: Wraps the data keys.
        creates: Whether this process makes the keys of a new platform; others wait for them.

    Raises:
        InvalidRequest: The key-encryption key is missing, or another one.
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    keys = PlatformKeys(bus, encryption)
    if creates:
        await open_bucket(bus)
    reminded_s = 0.0
    while not await keys.reload():
        if creates:
            await create_keys(bus, encryption)
            continue
        if time.monotonic() - reminded_s > _REMIND_S:
            reminded_s = time.monotonic()
            logger.info(
                "the platform has no keys yet: waiting for the control plane, which makes them at "
                "its first start (`fox up` or `fox serve control`)"
            )
        await asyncio.sleep(WAIT_S)
    return keys
