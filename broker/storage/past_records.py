"""Earlier revisions of records whose secrets were encrypted again, under keys of their own.

Events that wait name a revision of their environment. When a data key is replaced, the history of
the bucket is erased, because it is encrypted with the key that is removed. What such events may
need is encrypted with the new key and kept here, until they have ended.
"""

from __future__ import annotations

import msgspec
from nats.js.errors import KeyNotFoundError
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.storage.records_bucket import record_errors
from kubefox import records
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent

PREFIX = "past."
KINDS = frozenset({"environment", "virtual-environment"})
"""Kinds whose revisions event contexts name, among those with secrets."""


class PastRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier content of a record.

    Attributes:
        until_s: Unix time from which no event can need it.
        record: The content, as ``broker.storage.sealed_records`` encodes it for its own key.
    """

    until_s: float
    record: msgspec.Raw


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PastRecord).decode


def decode(key: str, value: bytes) -> PastRecord:
    """Return the record that is stored under ``key``.

    Raises:
        InvalidEvent: The value is none.
    """
    try:
        return _decode(value)
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"KV key {key} cannot be read: {error}") from error


async def read(bus: Bus, bucket: KeyValue, key: str, revision: int) -> bytes | None:
    """Return the content of a revision of the record under ``key``; None if it is not kept.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    if not is_kept(key):
        return None
    kept_as = past_key(key, revision)
    try:
        with record_errors(bus, "read", kept_as):
            entry = await bucket.get(kept_as)
    except KeyNotFoundError:
        return None
    return bytes(decode(kept_as, entry.value or b"").record)


def past_key(key: str, revision: int) -> str:
    """Return the key under which a revision of the record under ``key`` is kept."""
    return f"{PREFIX}{key}.{revision}"


def original_key(key: str) -> str:
    """Return the key of the record of which ``key`` keeps a revision."""
    return key.removeprefix(PREFIX).rpartition(".")[0]


def is_kept(key: str) -> bool:
    """Return whether revisions of the record under ``key`` are kept."""
    return records.kind_of(key) in KINDS
