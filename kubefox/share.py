"""Shares: the right to select one deployment in one virtual environment until a time.

A share is a record of the control plane and a signed token. The token holds all that the share
allows, so nobody can alter it. The record lets the platform list shares and revoke them: a token
without its record is worth nothing.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from typing import Annotated

import msgspec

from kubefox.errors import InvalidEvent
from kubefox.formats import Name, OptionalHost, Range, checked

PURPOSE = "kubefox share"
"""Purpose of the derived key that signs the tokens."""
MIN_TTL_S = 1
MAX_TTL_S = 30 * 86_400
DEFAULT_TTL_S = 86_400
MAX_SHARES = 1_000
"""Shares that a platform has at once."""
MAX_TOKEN = 1_024
"""Longest token that is read, in characters."""

_MAC_BYTES = 16

TtlSeconds = Annotated[int, checked(Range(minimum=MIN_TTL_S, maximum=MAX_TTL_S))]


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share that was neither revoked nor removed.

    Attributes:
        name: Id of the share: random, and no secret.
        deployment: Name of the deployment that it allows to select.
        virtual_environment: Name of the virtual environment in which.
        expires_at_s: Unix time at which it ends.
        created_at_s: Unix time at which it was made.
        host: The only host name for which it is valid, in lower case; empty for every host.
    """

    name: str
    deployment: str
    virtual_environment: str
    expires_at_s: int
    created_at_s: int
    host: str = ""


class NewShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share to make.

    Attributes:
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        ttl_s: Seconds until it ends.
        host: The only host name for which it is valid, without a port; empty for every host.
    """

    deployment: Name
    virtual_environment: Name
    ttl_s: TtlSeconds = DEFAULT_TTL_S
    host: OptionalHost = ""


class SignedShare(msgspec.Struct, frozen=True, kw_only=True):
    """A new share with its token, which the platform shows only once.

    Attributes:
        share: The share.
        token: As good as a password for what it shares.
        warnings: Why the share may not be accepted by the HTTP processes of the platform.
    """

    share: Share
    token: str
    warnings: tuple[str, ...] = ()


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """The claims of a token; see ``Share``."""

    name: str
    deployment: str
    virtual_environment: str
    expires_at_s: int
    host: str = ""

    def matches(self, share: Share) -> bool:
        """Return whether a record is that of the token."""
        return self == claims_of(share)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claims).decode


def claims_of(share: Share) -> Claims:
    """Return the claims of a share's token."""
    return Claims(
        share.name, share.deployment, share.virtual_environment, share.expires_at_s, share.host
    )


def sign(claims: Claims, key: bytes) -> str:
    """Return the token of a share, in characters that URLs and cookies may hold.

    Args:
        claims: What it says.
        key: Derived for ``PURPOSE``.
    """
    text = _encode(claims)
    return _text_of(_mac(text, key) + text)


def verified(token: str, keys: Iterable[bytes]) -> Claims:
    """Return the claims of a token that was signed with one of some keys.

    Args:
        token: From a client.
        keys: Derived for ``PURPOSE``.

    Raises:
        InvalidEvent: The text is no token, or was altered, or was signed with another key.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise InvalidEvent("the token of the share cannot be read")
    try:
        signed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidEvent("the token of the share cannot be read") from error
    mac, text = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
    # Several texts may stand for the same bytes; only one of them is the token.
    if _text_of(signed) != token:
        raise InvalidEvent("the token of the share was altered")
    if not any(hmac.compare_digest(mac, _mac(text, key)) for key in keys):
        raise InvalidEvent("the token of the share was not signed by this platform")
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        raise InvalidEvent("the token of the share cannot be read") from error


def _text_of(signed: bytes) -> str:
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def _mac(text: bytes, key: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")[:_MAC_BYTES]
