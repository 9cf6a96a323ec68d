"""Keys of NATS: Ed25519 key pairs, written as text that names the kind of the key.

A public key is base32 of a prefix byte, the 32 bytes of the key, and a CRC-16. A seed, which is the
secret half, has the prefix byte of a seed and that of its kind. See
https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from enum import Enum
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kubefox.errors import InvalidRequest

_SEED = 18 << 3
_KEY_BYTES = 32
_CRC_BYTES = 2
_SEED_PREFIX_BYTES = 2


class KeyKind(Enum):
    """The kind of a key; the value is the prefix byte of its public key."""

    OPERATOR = 14 << 3
    ACCOUNT = 0
    USER = 20 << 3


class KeyPair:
    """A key pair that signs.

    Args:
        kind: The kind of the key.
        private: Its 32 secret bytes.

    Attributes:
        public: The public key, such as ``UDXB…``.
    """

    def __init__(self, kind: KeyKind, private: bytes) -> None:
        self._private = private
        self._key = Ed25519PrivateKey.from_private_bytes(private)
        self._kind = kind
        self.public = _encode(bytes([kind.value]) + self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, kind: KeyKind) -> Self:
        """Return a new key pair."""
        return cls(kind, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_seed(cls, seed: str, kind: KeyKind) -> Self:
        """Return the key pair of a seed.

        Raises:
            InvalidRequest: The text is not a seed of this kind. It is not part of the message.
        """
        try:
            prefix, private = _split_seed(seed)
        except (ValueError, binascii.Error) as error:
            raise InvalidRequest("the seed of a NATS key is not readable") from error
        if prefix != kind.value:
            raise InvalidRequest(f"the seed of a NATS key is not that of a key of an {kind.name}")
        return cls(kind, private)

    @property
    def seed(self) -> str:
        """The secret half as text, such as ``SUAB…``."""
        kind = self._kind.value
        return _encode(bytes([_SEED | kind >> 5, (kind & 31) << 3]) + self._private)

    def derive(self, context: bytes, kind: KeyKind) -> KeyPair:
        """Return a key pair that follows from this one's secret half and ``context`` alone."""
        return KeyPair(kind, hmac.digest(self._private, context, "sha256"))

    def sign(self, data: bytes) -> bytes:
        """Return the signature of ``data``, 64 bytes."""
        return self._key.sign(data)


def is_public(text: str, kind: KeyKind) -> bool:
    """Return whether ``text`` is a public key of this kind."""
    try:
        raw = _decode(text)
    except (ValueError, binascii.Error):
        return False
    return len(raw) == 1 + _KEY_BYTES and raw[0] == kind.value


def _split_seed(seed: str) -> tuple[int, bytes]:
    """Return the prefix byte of the kind, and the secret bytes."""
    raw = _decode(seed)
    if len(raw) != _SEED_PREFIX_BYTES + _KEY_BYTES or raw[0] & 0xF8 != _SEED:
        raise ValueError("not a seed")
    return (raw[0] & 7) << 5 | raw[1] >> 3, raw[_SEED_PREFIX_BYTES:]


def _encode(raw: bytes) -> str:
    checked = raw + binascii.crc_hqx(raw, 0).to_bytes(_CRC_BYTES, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _decode(text: str) -> bytes:
    raw = base64.b32decode(text + "=" * (-len(text) % 8))
    content, crc = raw[:-_CRC_BYTES], raw[-_CRC_BYTES:]
    if binascii.crc_hqx(content, 0).to_bytes(_CRC_BYTES, "little") != crc:
        raise ValueError("the checksum is wrong")
    return content
