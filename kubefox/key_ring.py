"""The platform's keys as they are stored: encrypted, with their states, in one record.

Sealing keys seal event contexts. Data keys encrypt secrets and sealing keys. A key-encryption key,
which is never stored with them, wraps the data keys.

Of each kind, one key is the current one. A new key is first published: every process can open with
it, and none seals with it. When all processes know it, it becomes the current one. A sealing key
that was replaced still opens the contexts of events that wait; it is removed when none is left.
Every function below takes a ring and returns the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent
from kubefox.records import PLATFORM_KEYS

KEY_BYTES = 32


class DataKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that encrypts secrets and sealing keys.

    Attributes:
        id: Its name in what it encrypts.
        wrapped: The key, wrapped by a key-encryption key.
        wrapped_by: Name of the key-encryption key.
        created_at_s: Unix time.
    """

    id: str
    wrapped: str
    wrapped_by: str
    created_at_s: float


class SealingKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that seals event contexts.

    Attributes:
        id: Its name in the tokens that it seals.
        sealed: The key, encrypted with a data key.
        created_at_s: Unix time.
        last_used_s: Unix time until which new events may have got its tokens; 0 if the key is the
            current one, or was never that.
    """

    id: str
    sealed: str
    created_at_s: float
    last_used_s: float = 0


class KeyRing(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of a platform.

    Attributes:
        data_key: Id of the data key that encrypts.
        data_keys: All data keys, the newest last.
        sealing_key: Id of the sealing key that seals.
        sealing_keys: All sealing keys, the newest last.
        is_resealing: Whether there may be records, or earlier revisions of them, that are not
            encrypted with the current data key.
    """

    data_key: str
    data_keys: tuple[DataKey, ...]
    sealing_key: str
    sealing_keys: tuple[SealingKey, ...]
    is_resealing: bool = False


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(KeyRing).decode


def decode(value: bytes) -> KeyRing:
    """Return the ring of a stored record.

    Raises:
        InvalidEvent: The value is no ring.
    """
    try:
        return _decode(value)
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"KV key {PLATFORM_KEYS} cannot be read: {error}") from error


def data_key_name(key_id: str) -> str:
    """Return the name that is authenticated with a wrapped data key."""
    return f"{PLATFORM_KEYS}/data_keys/{key_id}"


def sealing_key_name(key_id: str) -> str:
    """Return the name that is authenticated with an encrypted sealing key."""
    return f"{PLATFORM_KEYS}/sealing_keys/{key_id}"


def with_sealing_key(ring: KeyRing, key: SealingKey) -> KeyRing:
    """Publish a sealing key."""
    return msgspec.structs.replace(ring, sealing_keys=(*ring.sealing_keys, key))


def published_sealing_key(ring: KeyRing) -> SealingKey | None:
    """Return the newest sealing key if it is published and was never used."""
    newest = ring.sealing_keys[-1]
    return None if newest.id == ring.sealing_key or newest.last_used_s else newest


def using_sealing_key(ring: KeyRing, key_id: str, *, now_s: float) -> KeyRing:
    """Make a published sealing key the current one."""
    keys = (
        msgspec.structs.replace(key, last_used_s=now_s) if key.id == ring.sealing_key else key
        for key in ring.sealing_keys
    )
    return msgspec.structs.replace(ring, sealing_key=key_id, sealing_keys=tuple(keys))


def noting_use(ring: KeyRing, used: Iterable[str], *, now_s: float, every_s: float) -> KeyRing:
    """Note that events in flight still have tokens of replaced keys.

    Args:
        ring: The ring.
        used: Ids of the keys of events in flight.
        now_s: Unix time.
        every_s: A time that was noted within these seconds stays.
    """
    known = frozenset(used)
    keys = (
        msgspec.structs.replace(key, last_used_s=now_s)
        if key.id in known and 0 < key.last_used_s < now_s - every_s
        else key
        for key in ring.sealing_keys
    )
    return msgspec.structs.replace(ring, sealing_keys=tuple(keys))


def without_sealing_keys_before(ring: KeyRing, before_s: float) -> KeyRing:
    """Remove the replaced sealing keys that were last used before a Unix time."""
    keys = (key for key in ring.sealing_keys if not 0 < key.last_used_s < before_s)
    return msgspec.structs.replace(ring, sealing_keys=tuple(keys))


def with_data_key(ring: KeyRing, key: DataKey) -> KeyRing:
    """Publish a data key."""
    return msgspec.structs.replace(ring, data_keys=(*ring.data_keys, key))


def using_data_key(ring: KeyRing, key_id: str, sealed: Mapping[str, str]) -> KeyRing:
    """Make a published data key the current one.

    Args:
        ring: The ring.
        key_id: Id of the data key.
        sealed: The sealing keys encrypted with it, by id.
    """
    keys = (msgspec.structs.replace(key, sealed=sealed[key.id]) for key in ring.sealing_keys)
    return msgspec.structs.replace(
        ring, data_key=key_id, sealing_keys=tuple(keys), is_resealing=True
    )


def resealed(ring: KeyRing) -> KeyRing:
    """Remove the replaced data keys: nothing is encrypted with them any more."""
    keys = tuple(key for key in ring.data_keys if key.id == ring.data_key)
    return msgspec.structs.replace(ring, data_keys=keys, is_resealing=False)


def rewrapped(ring: KeyRing, wrapped: Mapping[str, tuple[str, str]]) -> KeyRing:
    """Replace the wrapped forms of the data keys.

    Args:
        ring: The ring.
        wrapped: By id, the wrapped key and the name of the key-encryption key.
    """
    keys = (
        msgspec.structs.replace(key, wrapped=wrapped[key.id][0], wrapped_by=wrapped[key.id][1])
        for key in ring.data_keys
    )
    return msgspec.structs.replace(ring, data_keys=tuple(keys))


class KeyKind(Enum):
    """The kinds of keys that can be replaced."""

    SEALING = "sealing"
    DATA = "data"
    KEY_ENCRYPTION = "key-encryption"


class Resealed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a part of encrypting records again.

    Attributes:
        renewed: Revisions that were encrypted again or erased.
        left: How many revisions are left at least; another request goes on.
    """

    renewed: int = 0
    left: int = 0


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One key, without its content.

    Attributes:
        id: Id of the key; the name of a key-encryption key.
        kind: ``sealing``, ``data`` or ``key-encryption``.
        state: ``current``, ``published`` or ``replaced``. A replaced key-encryption key still wraps
            a data key.
        created_at_s: Unix time; 0 for a key-encryption key, whose holder knows its age.
        last_used_s: Of a replaced sealing key: Unix time until which new events may have got it.
        wrapped_by: Of a data key: name of the key-encryption key.
    """

    id: str
    kind: str
    state: str
    created_at_s: float
    last_used_s: float = 0
    wrapped_by: str = ""


class KeysStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of the platform, without their content.

    Attributes:
        revision: Revision of the keys, for ``If-Match``.
        keys: All keys, the oldest of each kind first.
        is_resealing: Whether there may be records that are not encrypted with the current data key.
    """

    revision: int
    keys: tuple[KeyStatus, ...]
    is_resealing: bool = False


def status_of(ring: KeyRing, revision: int) -> KeysStatus:
    """Return what may be shown of a ring."""
    sealing = (
        KeyStatus(
            id=key.id,
            kind=KeyKind.SEALING.value,
            state=_state(key.id == ring.sealing_key, key.last_used_s > 0),
            created_at_s=key.created_at_s,
            last_used_s=key.last_used_s,
        )
        for key in ring.sealing_keys
    )
    current = next(at for at, key in enumerate(ring.data_keys) if key.id == ring.data_key)
    data = (
        KeyStatus(
            id=key.id,
            kind=KeyKind.DATA.value,
            state=_state(at == current, at < current),
            created_at_s=key.created_at_s,
            wrapped_by=key.wrapped_by,
        )
        for at, key in enumerate(ring.data_keys)
    )
    return KeysStatus(
        revision=revision,
        keys=(*sealing, *data, *_wrapping_keys(ring)),
        is_resealing=ring.is_resealing,
    )


def _wrapping_keys(ring: KeyRing) -> Iterator[KeyStatus]:
    """Yield the key-encryption keys that wrap data keys; the one of the newest is the current."""
    newest = ring.data_keys[-1].wrapped_by
    for name in dict.fromkeys(key.wrapped_by for key in ring.data_keys):
        yield KeyStatus(
            id=name,
            kind=KeyKind.KEY_ENCRYPTION.value,
            state=_state(name == newest, is_replaced=True),
            created_at_s=0,
        )


def _state(is_current: bool, is_replaced: bool) -> str:
    if is_current:
        return "current"
    return "replaced" if is_replaced else "published"
