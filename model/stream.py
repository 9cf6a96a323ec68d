"""The protocol of a stream: a body that travels in chunks, under credit. No I/O.

A stream is one direction. ``Receiving`` grants credit, ``Sending`` spends it on chunks:

    Receiving                         Sending
        ── CREDIT limit ──────────────▶      the first one opens the stream
        ◀───────────────── CHUNK number ──
        ◀───────────────── CHUNK number ──
        ── CREDIT limit ──────────────▶      half a window was taken
        ◀──────────────────── END count ──
        ◀─ RESET error ─▶                    either side gives up, at any time
        ◀─ PING ────────▶                    is anybody there?

Credit is cumulative: a limit that is told twice grants nothing twice. What lies at the receiver is
never more than its window, so a slow reader holds up its sender and nobody else. Chunks are
numbered from 0: a gap, a chunk beyond the credit and whatever else does not belong there raise
StreamBroken, and the caller resets the stream.

A frame is ``kind (1 byte) | number (8 bytes, big-endian) | data``. It tells nothing of whose it is:
its subject does, see ``model.subjects``.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, IntEnum
from struct import Struct
from typing import NamedTuple

import msgspec

from model.codec import Body
from model.decoding import UNREADABLE
from model.errors import ErrorDetail, FoxError, StreamBroken, from_detail

INLINE_BYTES = 512 * 1024
"""The largest body that goes within the frame of its event or response."""
CHUNK_BYTES = 128 * 1024
WINDOW_BYTES = 1 << 20
MIN_WINDOW_BYTES = 32 * 1024
CHUNK_COST_BYTES = 64
"""What a chunk costs besides its bytes, so that a window of tiny ones takes no more memory."""

_PREFIX = Struct(">BQ")
_encode_error = msgspec.msgpack.Encoder().encode
_decode_error = msgspec.msgpack.Decoder(ErrorDetail).decode


class Kind(IntEnum):
    """What a frame is."""

    CHUNK = 1
    END = 2
    CREDIT = 3
    RESET = 4
    PING = 5


class State(Enum):
    """How one end of a stream stands."""

    OPEN = "open"
    ENDED = "ended"
    RESET = "reset"


class Frame(NamedTuple):
    """One message of a stream.

    Attributes:
        kind: What it is.
        number: Of a chunk; how many there were, of an end; bytes granted from the beginning on,
            of a credit; 0 of the others.
        data: The bytes of a chunk; the error of a reset, or nothing when it is no failure.
    """

    kind: Kind
    number: int
    data: Body


def encode(kind: Kind, number: int = 0, data: Body = b"") -> bytes:
    """Return a frame as it travels."""
    return b"".join((_PREFIX.pack(kind, number), data))


def encode_reset(error: FoxError | None) -> bytes:
    """Return the frame that gives a stream up; without an error nobody has failed."""
    return encode(Kind.RESET, 0, _encode_error(error.to_detail()) if error else b"")


def decode(payload: bytes) -> Frame:
    """Return a frame; its data is a view into ``payload``.

    Raises:
        StreamBroken: It is none.
    """
    if len(payload) < _PREFIX.size:
        raise StreamBroken("a frame of a stream is cut short")
    kind, number = _PREFIX.unpack_from(payload)
    try:
        return Frame(Kind(kind), number, memoryview(payload)[_PREFIX.size :])
    except ValueError as error:
        raise StreamBroken(f"a frame of a stream is of unknown kind {kind}") from error


class _End:
    """What both ends have in common.

    Attributes:
        state: As of now; what is not open never changes again.
        error: Why it was reset; None when the other side wants no more, or when it was not.
    """

    __slots__ = ("error", "state")

    def __init__(self) -> None:
        self.state = State.OPEN
        self.error: FoxError | None = None

    def reset(self, error: FoxError | None = None) -> None:
        """Give the stream up, here; ``encode_reset`` tells the other side."""
        if self.state is State.OPEN:
            self.state, self.error = State.RESET, error

    def _receive_reset(self, frame: Frame) -> None:
        self.reset(_read_error(frame.data) if frame.data else None)


class Sending(_End):
    """The end that sends.

    Attributes:
        chunks: How many were made.
    """

    __slots__ = ("_limit", "_spent", "chunks")

    def __init__(self) -> None:
        """Start without credit."""
        super().__init__()
        self._limit = self._spent = 0
        self.chunks = 0

    @property
    def is_opened(self) -> bool:
        """Whether the receiver has ever granted anything."""
        return self._limit > 0

    @property
    def has_credit(self) -> bool:
        """Whether a chunk may be sent, of at least a byte."""
        return self._limit - self._spent > CHUNK_COST_BYTES

    def chunk(self, data: memoryview) -> tuple[bytes, int]:
        """Return the frame of the next chunk, and how much of ``data`` is in it.

        To be called with credit and in state open. Empty data makes a chunk too: a sign of life
        that counts as progress.
        """
        size = min(len(data), CHUNK_BYTES, self._limit - self._spent - CHUNK_COST_BYTES)
        frame = encode(Kind.CHUNK, self.chunks, data[:size])
        self._spent += size + CHUNK_COST_BYTES
        self.chunks += 1
        return frame, size

    def end(self) -> bytes:
        """End the stream and return the frame that says so."""
        self.state = State.ENDED
        return encode(Kind.END, self.chunks)

    def receive(self, frame: Frame) -> None:
        """Take what the receiver says.

        Raises:
            StreamBroken: It may not say that.
        """
        match frame.kind:
            case Kind.CREDIT if frame.number >= self._limit:
                self._limit = frame.number
            case Kind.RESET:
                self._receive_reset(frame)
            case Kind.PING:
                pass
            case _:
                raise StreamBroken(f"the receiver of a stream sent {frame.kind.name}")


class Receiving(_End):
    """The end that receives.

    Args:
        window_bytes: What may wait here, costs of chunks included.
    """

    __slots__ = ("_chunks", "_expected", "_granted", "_spent", "_taken", "_window")

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        """Start with nothing granted; see ``grant``."""
        super().__init__()
        self._window = window_bytes
        self._granted = self._spent = self._taken = 0
        self._expected = 0
        self._chunks: deque[Body] = deque()

    @property
    def waiting_bytes(self) -> int:
        """What has come and was not taken, costs of chunks included."""
        return self._spent - self._taken

    def grant(self) -> bytes | None:
        """Return the credit to send now, or None: it is worth a message from half a window on."""
        limit = self._taken + self._window
        if self.state is not State.OPEN or limit - self._granted < self._window // 2:
            return None
        self._granted = limit
        return self.credit()

    def credit(self) -> bytes:
        """Return what is granted already: to send it again is no more than a sign of progress."""
        return encode(Kind.CREDIT, self._granted)

    def take(self) -> Body | None:
        """Return the next chunk, or None when there is none yet, or none any more."""
        if not self._chunks:
            return None
        data = self._chunks.popleft()
        self._taken += len(data) + CHUNK_COST_BYTES
        return data

    def clear(self) -> None:
        """Drop what nobody is going to take."""
        self._chunks.clear()
        self._taken = self._spent

    def receive(self, frame: Frame) -> None:
        """Take what the sender says.

        Raises:
            StreamBroken: Something is lost, or it may not say that.
        """
        match frame.kind:
            case Kind.CHUNK:
                self._receive_chunk(frame)
            case Kind.END:
                self._check_number(frame)
                self.state = State.ENDED
            case Kind.RESET:
                self._receive_reset(frame)
            case Kind.PING:
                pass
            case _:
                raise StreamBroken(f"the sender of a stream sent {frame.kind.name}")

    def _receive_chunk(self, frame: Frame) -> None:
        self._check_number(frame)
        self._spent += len(frame.data) + CHUNK_COST_BYTES
        if self._spent > self._granted:
            raise StreamBroken("the sender of a stream sent more than was granted")
        self._expected += 1
        self._chunks.append(frame.data)

    def _check_number(self, frame: Frame) -> None:
        if self.state is not State.OPEN:
            raise StreamBroken(f"the sender of a stream sent {frame.kind.name} after its end")
        if frame.number != self._expected:
            raise StreamBroken(
                f"a stream lost chunks: number {frame.number} came instead of {self._expected}"
            )


def _read_error(data: Body) -> FoxError:
    try:
        return from_detail(_decode_error(data))
    except UNREADABLE:
        return StreamBroken("a stream was reset for a reason that cannot be read")
