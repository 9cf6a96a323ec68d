"""Records as bytes in JetStream: their secrets are encrypted, everything else can be read.

The mapping of secrets becomes one ciphertext, under a name that no secret can have::

    "secrets": {"": "<id of the data key>.<ciphertext>"}

The ciphertext belongs to the key of its record. Equal secrets have different ciphertexts, so
records are compared when they are decoded. A record without secrets costs one look at its field.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from kubefox import records
from kubefox.component import Value
from kubefox.decoding import DECODE_ERRORS
from kubefox.environment import Environment, VirtualEnvironment
from kubefox.errors import InvalidEvent
from kubefox.records import Record
from kubefox.release import ReleaseManifest
from kubefox.sized_cache import SizedCache

MEMO_BYTES = 4 << 20
"""Memory for secrets that were encrypted or decrypted lately."""
SEALED = ""
"""Name of the one entry of encrypted secrets."""

_Secrets = dict[str, Value]
_Holder = Environment | VirtualEnvironment | ReleaseManifest
_HOLDERS = (Environment, VirtualEnvironment, ReleaseManifest)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Secrets).decode
_HAS_SECRETS = b'"secrets":{"'
_HAS_SEALED = b'"secrets":{"":"%b.'


class DataCipher(Protocol):
    """Encrypts with the current data key, and decrypts with all of them."""

    def encrypt(self, content: bytes, name: str) -> str:
        """Return ``<id of the data key>.<ciphertext>``."""
        ...

    def decrypt(self, sealed: str, name: str) -> bytes:
        """Return the content that was encrypted under a name."""
        ...


class _Opened(msgspec.Struct, frozen=True):
    secrets: _Secrets
    size_bytes: int


class SealedRecords:
    """Encodes and decodes records.

    Args:
        cipher: For their secrets.
        memo_bytes: Memory for secrets that were encrypted or decrypted lately.
    """

    def __init__(self, cipher: DataCipher, *, memo_bytes: int = MEMO_BYTES) -> None:
        self._cipher = cipher
        # A change is encoded, read back by the watch, and read again by the next change.
        self._memo: SizedCache[tuple[str, str], _Opened] = SizedCache(memo_bytes, _size_of)

    def encode(self, key: str, record: Record) -> bytes:
        """Return the bytes of the record under ``key``."""
        if not isinstance(record, _HOLDERS) or not record.data.secrets:
            return records.encode(record)
        secrets = record.data.secrets
        content = _encode(secrets)
        sealed = self._cipher.encrypt(content, _name(key))
        self._remember(key, sealed, secrets, len(content))
        return records.encode(_with_secrets(record, {SEALED: sealed}))

    def decode(self, key: str, value: bytes) -> Record:
        """Return the record under ``key``. Secrets of earlier versions are not encrypted.

        Raises:
            InvalidEvent: The record or its secrets cannot be read.
            Unavailable: This process does not have the key.
        """
        record = records.decode(key, value)
        if not isinstance(record, _HOLDERS) or SEALED not in record.data.secrets:
            return record
        return _with_secrets(record, self._open(key, str(record.data.secrets[SEALED])))

    def _open(self, key: str, sealed: str) -> _Secrets:
        found = self._memo.get((key, sealed))
        if found is not None:
            return found.secrets
        content = self._cipher.decrypt(sealed, _name(key))
        try:
            secrets = _decode(content)
        except DECODE_ERRORS as error:
            raise InvalidEvent(f"the secrets of {key} cannot be read: {error}") from error
        self._remember(key, sealed, secrets, len(content))
        return secrets

    def _remember(self, key: str, sealed: str, secrets: _Secrets, size_bytes: int) -> None:
        self._memo.put((key, sealed), _Opened(secrets, len(key) + len(sealed) + 4 * size_bytes))


def is_outdated(value: bytes, data_key: str) -> bool:
    """Return whether a stored record has secrets that are not encrypted with a data key.

    Inside a text of JSON a quotation mark is escaped, so no value can look like the field.
    """
    return _HAS_SECRETS in value and _HAS_SEALED % data_key.encode() not in value


def _size_of(opened: _Opened) -> int:
    return opened.size_bytes


def _name(key: str) -> str:
    return f"{key}/data.secrets"


def _with_secrets(record: _Holder, secrets: _Secrets) -> Record:
    data = msgspec.structs.replace(record.data, secrets=secrets)
    return msgspec.structs.replace(record, data=data)
