"""Encryption of short texts with AES-256-GCM, which authenticates the name of what it encrypts.

The name is not stored with the ciphertext: a ciphertext that is moved to another record or field
cannot be opened there.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kubefox.errors import InvalidEvent

_NONCE_BYTES = 12


class Cipher:
    """Encrypts and decrypts with one key.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def seal(self, content: bytes, name: str) -> str:
        """Return the content encrypted, in URL-safe base64."""
        # The nonce is random: the server below may be restored to an older state, so a counter
        # could repeat. One key may encrypt 2^32 texts.
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.urlsafe_b64encode(
            nonce + self._aes.encrypt(nonce, content, name.encode())
        ).decode()

    def open(self, sealed: str, name: str) -> bytes:
        """Return the content that was encrypted under a name.

        Raises:
            InvalidEvent: It was encrypted with another key or under another name, or was changed.
        """
        try:
            raw = base64.urlsafe_b64decode(sealed)
            return self._aes.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], name.encode())
        except (ValueError, InvalidTag) as error:
            raise InvalidEvent(
                f"{name} cannot be decrypted: it was changed, or belongs elsewhere"
            ) from error
