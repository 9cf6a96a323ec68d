"""Encoding of any key text as a valid NATS KV key.

A KV key is ``<app>.<store>.<key>``. In the last part, each ``/`` of the text becomes the ``.`` that
separates tokens, so that the server can find the entries below ``orders/2024/``. Letters, digits,
``_`` and ``-`` stay unchanged; any other byte of the UTF-8 text becomes ``=XX``, and an empty token
becomes ``=``.
"""

from __future__ import annotations

import re

_EMPTY = "="
_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


def encode(app: str, store: str, key: str) -> str:
    """Return the KV key of an entry."""
    return f"{app}.{store}.{'.'.join(map(_token, key.split('/')))}"


def decode(kv_key: str) -> str:
    """Return the key text of an entry's KV key."""
    _, _, tokens = kv_key.split(".", 2)
    return "/".join(map(_text, tokens.split(".")))


def pattern(app: str, store: str, prefix: str) -> str:
    """Return the narrowest KV pattern that matches every key with ``prefix``.

    It contains only the complete segments of the prefix, so the caller must still compare the keys.
    """
    whole, _, _ = prefix.rpartition("/")
    return f"{encode(app, store, whole)}.>" if "/" in prefix else f"{app}.{store}.>"


def _token(segment: str) -> str:
    return _UNSAFE.sub(_escape, segment.encode()).decode() or _EMPTY


def _escape(found: re.Match[bytes]) -> bytes:
    return b"=%02X" % ord(found[0])


def _text(token: str) -> str:
    if token == _EMPTY:
        return ""
    return _ESCAPED.sub(_unescape, token.encode()).decode()


def _unescape(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode())
