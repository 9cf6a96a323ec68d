"""Splits JSON that is nested too deeply for a decoder, without recursion.

Kubernetes accepts objects with 10,000 levels. A decoder of Python may stop at 1,000 of them, even
in fields that it skips, so one such object would hide all others of its list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb"|[\[\]{},]")
_KEY = re.compile(rb"\s*(" + _STRING + rb")\s*:")


def elements(text: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the JSON of each element of an array, or of each member of an object.

    Args:
        text: Valid JSON.
    """
    return [msgspec.Raw(part) for part in _parts(bytes(text)) if part.strip()]


def members(text: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Return the JSON of each value of an object, by its key.

    Args:
        text: Valid JSON.
    """
    found = {}
    for member in elements(text):
        if key := _KEY.match(member):
            found[msgspec.json.decode(key[1], type=str)] = msgspec.Raw(bytes(member)[key.end() :])
    return found


def _parts(text: bytes) -> Iterator[bytes]:
    depth = start = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == 1:
                    start = token.end()
            case b"]" | b"}":
                if depth == 1:
                    yield text[start : token.start()]
                depth -= 1
            case b"," if depth == 1:
                yield text[start : token.start()]
                start = token.end()
