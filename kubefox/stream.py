"""The protocol of a stream: a body sent in chunks under flow control by credit. No I/O.

A stream is one direction. ``Receiving`` grants credit, ``Sending`` spends it on chunks:

    Receiving                         Sending
        ── CREDIT limit ──────────────▶      the first one opens the stream
        ◀───────────────── CHUNK number ──
        ◀───────────────── CHUNK number ──
        ── CREDIT limit ──────────────▶      half a window was read
        ◀──────────────────── END count ──
        ◀─ RESET error ─▶                    either side may abort at any time
        ◀─ PING ────────▶                    proves that the other side is alive

Credit is cumulative: a limit that is sent twice grants no more. The receiver never buffers more
than its window, so a slow reader delays only its own sender. Chunks are numbered from 0. A gap, a
chunk beyond the credit and any other frame that is not allowed raise StreamBroken; then the caller
resets the stream.

A frame is ``kind (1 byte) | number (8 bytes, big-endian) | data``. Its subject identifies the
stream, see ``kubefox.subjects``.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

import msgspec

from kubefox.codec import Body
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import ErrorDetail, FoxError, StreamBroken, from_detail

INLINE_BYTES = 512 * 1024
"""The largest body that is sent in the frame of its event or response."""
LEAST_INLINE_BYTES = 8 * 1024
"""A body of so many bytes is always sent in the frame."""
CHUNK_BYTES = 128 * 1024
WINDOW_BYTES = 1 << 20
MIN_WINDOW_BYTES = 32 * 1024
CHUNK_COST_BYTES = 64
"""Cost of a chunk besides its bytes: it limits the memory of a window of tiny chunks."""

_PREFIX = Struct(">BQ")
_encode_error = msgspec.msgpack.Encoder().encode
_decode_error = msgspec.msgpack.Decoder(ErrorDetail).decode


class FrameKind(IntEnum):
    """The kind of a frame."""

    CHUNK = 1
    END = 2
    CREDIT = 3
    RESET = 4
    PING = 5


class State(Enum):
    """The state of one end of a stream."""

    OPEN = "open"
    ENDED = "ended"
    RESET = "reset"


class Frame(NamedTuple):
    """One message of a stream.

    Attributes:
        kind: Its kind.
        number: CHUNK: its number. END: how many chunks there were. CREDIT: bytes granted since the
            beginning. Others: 0.
        data: CHUNK: its bytes. RESET: the error, or empty if the reset is no failure.
    """

    kind: FrameKind
    number: int
    data: Body


def encode(kind: FrameKind, number: int = 0, data: Body = b"") -> bytes:
    """Return the encoded frame."""
    return b"".join((_PREFIX.pack(kind, number), data))


def encode_reset(error: FoxError | None) -> bytes:
    """Return the frame that resets a stream; no error means that nothing failed."""
    return encode(FrameKind.RESET, 0, _encode_error(error.to_detail()) if error else b"")


def decode(payload: bytes) -> Frame:
    """Return the decoded frame; its data is a view into ``payload``.

    Raises:
        StreamBroken: The payload is no frame.
    """
    if len(payload) < _PREFIX.size:
        raise StreamBroken("a frame of the stream is truncated")
    kind, number = _PREFIX.unpack_from(payload)
    try:
        return Frame(FrameKind(kind), number, memoryview(payload)[_PREFIX.size :])
    except ValueError as error:
        raise StreamBroken(f"a frame of the stream is of unknown kind {kind}") from error


class _StreamEnd:
    """Common part of both ends.

    Attributes:
        state: Current state; ENDED and RESET are final.
        error: Reason of the reset; None without a reset, or if the reset is no failure.
    """

    __slots__ = ("error", "state")

    def __init__(self) -> None:
        self.state = State.OPEN
        self.error: FoxError | None = None

    def reset(self, error: FoxError | None = None) -> None:
        """Reset this end; the caller sends the frame of ``encode_reset`` to the other end."""
        if self.state is State.OPEN:
            self.state, self.error = State.RESET, error

    def _receive_reset(self, frame: Frame) -> None:
        self.reset(_read_error(frame.data) if frame.data else None)


class Sending(_StreamEnd):
    """The end that sends.

    Attributes:
        chunks: How many chunks were made.
    """

    __slots__ = ("_limit", "_spent", "chunks")

    def __init__(self) -> None:
        super().__init__()
        self._limit = self._spent = 0
        self.chunks = 0

    @property
    def is_opened(self) -> bool:
        """Whether the receiver has granted any credit."""
        return self._limit > 0

    @property
    def has_credit(self) -> bool:
        """Whether a chunk of at least one byte may be sent."""
        return self._limit - self._spent > CHUNK_COST_BYTES

    def chunk(self, data: memoryview) -> tuple[bytes, int]:
        """Return the frame of the next chunk, and how many bytes of ``data`` it holds.

        Call it only with credit and in state OPEN. Empty data makes a chunk too, which counts as
        progress.
        """
        size = min(len(data), CHUNK_BYTES, self._limit - self._spent - CHUNK_COST_BYTES)
        frame = encode(FrameKind.CHUNK, self.chunks, data[:size])
        self._spent += size + CHUNK_COST_BYTES
        self.chunks += 1
        return frame, size

    def end(self) -> bytes:
        """End the stream and return its last frame."""
        self.state = State.ENDED
        return encode(FrameKind.END, self.chunks)

    def receive(self, frame: Frame) -> None:
        """Process a frame of the receiver.

        Raises:
            StreamBroken: The frame is not allowed.
        """
        match frame.kind:
            case FrameKind.CREDIT if frame.number >= self._limit:
                self._limit = frame.number
            case FrameKind.RESET:
                self._receive_reset(frame)
            case FrameKind.PING:
                pass
            case _:
                raise StreamBroken(f"the receiver of the stream sent {frame.kind.name}")


class Receiving(_StreamEnd):
    """The end that receives.

    Args:
        window_bytes: How many bytes may be buffered, costs of chunks included.
    """

    __slots__ = ("_chunks", "_expected", "_granted", "_read_bytes", "_spent", "_window")

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        super().__init__()
        self._window = window_bytes
        self._granted = self._spent = self._read_bytes = 0
        self._expected = 0
        self._chunks: deque[Body] = deque()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes are buffered, costs of chunks included."""
        return self._spent - self._read_bytes

    @property
    def granted_bytes(self) -> int:
        """How many bytes were granted since the beginning, costs of chunks included."""
        return self._granted

    @property
    def wanted_bytes(self) -> int:
        """Credit to grant now, in bytes; 0 while less than half a window is free."""
        free_bytes = self._read_bytes + self._window - self._granted
        is_due = self.state is State.OPEN and free_bytes >= self._window // 2
        return free_bytes if is_due else 0

    def grant(self, most_bytes: int = WINDOW_BYTES) -> bytes | None:
        """Return the credit frame to send, or None while less than half a window is free.

        Args:
            most_bytes: Most credit to grant.
        """
        wanted_bytes = self.wanted_bytes
        if not wanted_bytes:
            return None
        self._granted += min(wanted_bytes, most_bytes)
        return self.credit()

    def credit(self) -> bytes:
        """Return the frame of the current credit; sent again, it only counts as progress."""
        return encode(FrameKind.CREDIT, self._granted)

    def next_chunk(self) -> Body | None:
        """Return the next buffered chunk, or None if the buffer is empty."""
        if not self._chunks:
            return None
        data = self._chunks.popleft()
        self._read_bytes += len(data) + CHUNK_COST_BYTES
        return data

    def clear(self) -> None:
        """Drop the buffered chunks."""
        self._chunks.clear()
        self._read_bytes = self._spent

    def receive(self, frame: Frame) -> None:
        """Process a frame of the sender.

        Raises:
            StreamBroken: A chunk is lost, or the frame is not allowed.
        """
        match frame.kind:
            case FrameKind.CHUNK:
                self._receive_chunk(frame)
            case FrameKind.END:
                self._check_number(frame)
                self.state = State.ENDED
            case FrameKind.RESET:
                self._receive_reset(frame)
            case FrameKind.PING:
                pass
            case _:
                raise StreamBroken(f"the sender of the stream sent {frame.kind.name}")

    def _receive_chunk(self, frame: Frame) -> None:
        self._check_number(frame)
        self._spent += len(frame.data) + CHUNK_COST_BYTES
        if self._spent > self._granted:
            raise StreamBroken("the sender of the stream sent more than the granted credit")
        self._expected += 1
        self._chunks.append(frame.data)

    def _check_number(self, frame: Frame) -> None:
        if self.state is not State.OPEN:
            raise StreamBroken(f"the sender of the stream sent {frame.kind.name} after its end")
        if frame.number != self._expected:
            raise StreamBroken(
                f"the stream lost chunks: got number {frame.number}, expected {self._expected}"
            )


def _read_error(data: Body) -> FoxError:
    try:
        return from_detail(_decode_error(data))
    except DECODE_ERRORS:
        return StreamBroken("the stream was reset with an error that cannot be read")
