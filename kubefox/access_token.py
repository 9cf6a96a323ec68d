"""Tokens of the control API: ``fox_<id>_<secret>``.

The id finds the stored token, so that it is no search over hashes. The secret has 256 random bits:
nobody can try them all, so one round of SHA-256 protects a stored hash, and a slow hash for
passwords would add nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from ipaddress import IPv6Address, ip_address

import msgspec

ID_BYTES = 8
SECRET_BYTES = 32
NONCE_BYTES = 32

TOKEN_PREFIX = "fox_"  # noqa: S105 - what every token begins with
TOKEN_LENGTH = len(TOKEN_PREFIX) + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES
"""Characters of a token."""

_TOKEN = re.compile(rf"{TOKEN_PREFIX}([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")


class AccessToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token; keep it out of logs, messages and command lines.

    Attributes:
        id: Public part: finds the token, and names it in the audit log.
        digest: SHA-256 of the whole text, hexadecimal: what is stored of it.
    """

    id: str
    digest: str


def format_token(identity: bytes, secret: bytes) -> str:
    """Return the text of a token, made of ``ID_BYTES`` and ``SECRET_BYTES`` random bytes."""
    return f"{TOKEN_PREFIX}{identity.hex()}_{secret.hex()}"


def parse_token(text: str) -> AccessToken | None:
    """Return the token with this text, or None if it is none."""
    found = _TOKEN.fullmatch(text)
    if found is None:
        return None
    return AccessToken(id=found[1], digest=hashlib.sha256(text.encode()).hexdigest())


def prove(digest: str, nonce: bytes, address: str, port: int) -> str:
    """Return the proof that a control API knows a token, for a client that has not sent it.

    Args:
        digest: Of the token.
        nonce: Random bytes of the client.
        address: IP address at which the control API was asked. Whoever listens at another one
            cannot pass this proof on as its own: a client that connects to ``localhost`` tries the
            port at ``::1`` as well, where anybody may listen.
        port: Port there; the same holds for it.
    """
    message = f"kubefox control {_without_mapping(address)} {port} ".encode() + nonce
    return hmac.new(bytes.fromhex(digest), message, hashlib.sha256).hexdigest()


def _without_mapping(address: str) -> str:
    """Return an address as the other end sees it: a socket for both versions of IP maps IPv4."""
    parsed = ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
