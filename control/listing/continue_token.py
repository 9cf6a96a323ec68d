"""Continue tokens: where a list goes on, and at which revision."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidRequest

NEWEST = 0
"""In place of a revision: go on at the newest one."""


class ContinueToken(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The place in a list after one of its pages.

    Attributes:
        query: Checksum of the list's kind, filters and sort.
        revision: Revision of all pages, or ``NEWEST``.
        seen: How many objects the pages so far held.
        key: Key of the last object of the pages so far.
    """

    query: int
    revision: int
    seen: int
    key: tuple[str | float, ...]

    def encode(self) -> str:
        """Return the token as text for a URL."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")


_decoder = msgspec.msgpack.Decoder(ContinueToken)


def decode_token(text: str, query: int) -> ContinueToken:
    """Return the token that ``encode`` made.

    Args:
        text: The encoded token.
        query: Checksum of the list that is asked for.

    Raises:
        InvalidRequest: The text is no token, or belongs to another list.
    """
    padded = text + "=" * (-len(text) % 4)
    try:
        token = _decoder.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, *DECODE_ERRORS) as error:
        raise InvalidRequest(
            "the continue token is invalid: expected the field continue of the page before"
        ) from error
    if token.query != query:
        raise InvalidRequest(
            "the continue token belongs to another list: send the same filters and sort as for "
            "the first page"
        )
    return token


def checksum(*parts: Any) -> int:
    """Return the checksum of a list's kind, filters and sort."""
    return zlib.crc32(msgspec.json.encode(parts, order="deterministic"))
