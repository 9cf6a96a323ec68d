"""Keys for single purposes, derived from the platform key."""

from __future__ import annotations

import hashlib
import hmac

KEY_BYTES = 32
_NO_SALT = bytes(hashlib.sha256().digest_size)


def derived_key(key: bytes, purpose: str) -> bytes:
    """Return the key for a purpose: HKDF with SHA-256 (RFC 5869), without salt.

    Args:
        key: The platform key. A derived key says nothing about it, or about keys of other purposes.
        purpose: Name of the purpose.
    """
    extracted = hmac.digest(_NO_SALT, key, "sha256")
    # One block of the expansion is as long as the key.
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")
