"""The frame that crosses NATS: ``version | head length | head (MessagePack) | body``.

One byte of version and three of length come first (big-endian), and the body trails untouched, so
a large body is never copied through the decoder: 2 µs instead of 21 µs at 1 MB. The version is
the first thing read: a peer that speaks another one is refused by name, not misread.
"""

from __future__ import annotations

import msgspec

from model.decoding import UNREADABLE
from model.errors import InvalidEvent
from model.event import Event, Response

VERSION = 1
PREFIX_BYTES = 4
MAX_HEAD_BYTES = (1 << 24) - 1
_VERSION_BITS = VERSION << 24
_COPIED_BYTES = 16 * 1024

_encode_head = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_response = msgspec.msgpack.Decoder(Response).decode

Body = bytes | bytearray | memoryview


def encode(head: Event | Response, body: Body = b"") -> bytes:
    """Return the frame of a head and its body.

    Raises:
        InvalidEvent: The head is over 16 MiB.
    """
    packed = _encode_head(head)
    length = len(packed)
    if length > MAX_HEAD_BYTES:
        raise InvalidEvent(f"event head has {length} bytes, at most {MAX_HEAD_BYTES} fit a frame")
    return b"".join(((_VERSION_BITS | length).to_bytes(PREFIX_BYTES, "big"), packed, body))


def decode_event(frame: bytes) -> tuple[Event, Body]:
    """Return a request's head and its body; a large one is a view into ``frame``.

    Raises:
        InvalidEvent: Another version, cut short, or not an event.
    """
    head, body = _split(frame)
    try:
        return _decode_event(head), body
    except UNREADABLE as error:
        raise InvalidEvent(f"event head cannot be read: {error}") from error


def decode_response(frame: bytes) -> tuple[Response, Body]:
    """Return a response's head and its body; a large one is a view into ``frame``.

    Raises:
        InvalidEvent: Another version, cut short, or not a response.
    """
    head, body = _split(frame)
    try:
        return _decode_response(head), body
    except UNREADABLE as error:
        raise InvalidEvent(f"response head cannot be read: {error}") from error


def _split(frame: bytes) -> tuple[bytes, Body]:
    prefix = int.from_bytes(frame[:PREFIX_BYTES], "big")
    length = len(frame)
    if length < PREFIX_BYTES or prefix >> 24 != VERSION:
        raise InvalidEvent(f"frame is not of version {VERSION}")
    end = PREFIX_BYTES + (prefix & MAX_HEAD_BYTES)
    if end > length:
        raise InvalidEvent(f"frame has {length} bytes, its head alone needs {end}")
    # A view costs more than a copy of what is small.
    body = frame[end:] if length <= _COPIED_BYTES else memoryview(frame)[end:]
    return frame[PREFIX_BYTES:end], body
