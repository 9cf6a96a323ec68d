"""New keys: the first ones of a platform, and those that replace others."""

from __future__ import annotations

import base64
import contextlib
import logging
import secrets
import time

from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.jetstream import translated_errors
from broker.storage.cipher import Cipher
from broker.storage.key_encryption import KeyEncryption
from broker.storage.records_bucket import STREAM, erase, record_errors, subject_of
from kubefox import key_ring
from kubefox.context import LEGACY_KEY
from kubefox.errors import RevisionConflict
from kubefox.key_ring import KEY_BYTES, DataKey, KeyRing, SealingKey
from kubefox.records import PLATFORM_KEYS

logger = logging.getLogger(__name__)

_ID_BYTES = 4
_LEGACY = "platform.key"
"""Key of the sealing key of earlier versions, which was not encrypted."""


def new_id() -> str:
    """Return an id for a key."""
    return secrets.token_hex(_ID_BYTES)


async def new_data_key(encryption: KeyEncryption) -> tuple[DataKey, Cipher]:
    """Return a new data key, and its cipher.

    Raises:
        InvalidRequest: It cannot be wrapped.
    """
    key_id, content = new_id(), secrets.token_bytes(KEY_BYTES)
    wrapped = await encryption.wrap(content, key_ring.data_key_name(key_id))
    key = DataKey(id=key_id, wrapped=wrapped.text, wrapped_by=wrapped.by, created_at_s=time.time())
    return key, Cipher(content)


def encoded_sealing_key(content: bytes | None = None) -> bytes:
    """Return a sealing key, by default a new one, in the form that is encrypted."""
    return base64.b64encode(content or secrets.token_bytes(KEY_BYTES))


async def create_keys(bus: Bus, encryption: KeyEncryption) -> None:
    """Write the first keys of the platform, unless another process does.

    Raises:
        InvalidRequest: There is no key-encryption key, and none can be made.
        NatsUnavailable: NATS does not answer.
    """
    await encryption.create()
    legacy = await _legacy_key(bus)
    ring = await _first_ring(bus, encryption, legacy)
    with contextlib.suppress(RevisionConflict):
        await write_ring(bus, ring, 0)
        logger.info("made the platform's keys")
    if legacy is not None:
        await erase(bus, _LEGACY, legacy.seq or 0)


async def write_ring(bus: Bus, ring: KeyRing, revision: int) -> int:
    """Replace the stored keys, and erase their earlier revision.

    Args:
        bus: Connection to use.
        ring: The new keys.
        revision: Revision of the keys that it replaces; 0 for none.

    Returns:
        The new revision.

    Raises:
        RevisionConflict: The stored keys have another revision.
        NatsUnavailable: NATS does not answer; the keys may or may not be written.
    """
    headers = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}
    with record_errors(bus, "write", PLATFORM_KEYS, writes=True):
        ack = await bus.jetstream().publish(
            subject_of(PLATFORM_KEYS), key_ring.encode(ring), headers=headers
        )
    if revision:
        await erase(bus, PLATFORM_KEYS, revision)
    return ack.seq


async def _first_ring(
    bus: Bus, encryption: KeyEncryption, legacy: api.RawStreamMsg | None
) -> KeyRing:
    now_s = time.time()
    data_key, cipher = await new_data_key(encryption)

    def sealing_key(
        key_id: str, content: bytes | None = None, last_used_s: float = 0
    ) -> SealingKey:
        name = key_ring.sealing_key_name(key_id)
        sealed = f"{data_key.id}.{cipher.seal(encoded_sealing_key(content), name)}"
        return SealingKey(id=key_id, sealed=sealed, created_at_s=now_s, last_used_s=last_used_s)

    # Everybody who could read the bucket could read the key of earlier versions: replace it.
    earlier = [] if legacy is None else [sealing_key(LEGACY_KEY, legacy.data, now_s)]
    current = sealing_key(new_id())
    with translated_errors(bus, f"read {STREAM}"):
        info = await bus.jetstream().stream_info(STREAM)
    return KeyRing(
        data_key=data_key.id,
        data_keys=(data_key,),
        sealing_key=current.id,
        sealing_keys=(*earlier, current),
        is_resealing=info.state.messages > 0,
    )


async def _legacy_key(bus: Bus) -> api.RawStreamMsg | None:
    with translated_errors(bus, f"read {_LEGACY}"):
        try:
            return await bus.jetstream().get_msg(STREAM, subject=subject_of(_LEGACY))
        except NotFoundError:
            return None
