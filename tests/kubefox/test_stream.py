"""The stream protocol: both ends, connected by queues of frames."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.errors import ComponentFailed, StreamBroken
from kubefox.stream import (
    CHUNK_BYTES,
    CHUNK_COST_BYTES,
    MIN_WINDOW_BYTES,
    Frame,
    FrameKind,
    Receiving,
    Sending,
    State,
    decode,
    encode,
    encode_reset,
)

WINDOWS = st.sampled_from([CHUNK_COST_BYTES * 4, 1000, MIN_WINDOW_BYTES, 1 << 20])
BODIES = st.lists(st.binary(max_size=300) | st.integers(0, 300_000).map(bytes), max_size=8)


class Line:
    """Two ends and the frames between them; a test decides the order of steps."""

    def __init__(self, window: int, pieces: list[bytes]) -> None:
        self.window = window
        self.receiving, self.sending = Receiving(window), Sending()
        self.down: deque[bytes] = deque()
        self.up: deque[bytes] = deque()
        self.pieces = deque(memoryview(piece) for piece in pieces)
        self.taken = bytearray()
        self.grant()

    def grant(self) -> None:
        credit = self.receiving.grant()
        if credit is not None:
            self.up.append(credit)

    def send(self) -> bool:
        if self.sending.state is not State.OPEN:
            return False
        if not self.pieces:
            self.down.append(self.sending.end())
        elif self.sending.has_credit:
            frame, size = self.sending.chunk(self.pieces[0])
            self.down.append(frame)
            self.pieces[0] = self.pieces[0][size:]
            if not self.pieces[0]:
                self.pieces.popleft()
        else:
            return False
        return True

    def deliver_next(self) -> bool:
        chunk = self.receiving.next_chunk()
        if chunk is None:
            return False
        self.taken += chunk
        self.grant()
        return True

    def carry(self, frames: deque[bytes], end: Sending | Receiving) -> bool:
        if not frames:
            return False
        end.receive(decode(frames.popleft()))
        return True

    def step(self, actor: int) -> bool:
        match actor:
            case 0:
                moved = self.send()
            case 1:
                moved = self.deliver_next()
            case 2:
                moved = self.carry(self.down, self.receiving)
            case _:
                moved = self.carry(self.up, self.sending)
        assert self.receiving.waiting_bytes <= self.window
        return moved


@given(WINDOWS, BODIES, st.lists(st.integers(0, 3), max_size=200))
def test_any_interleaving_delivers_all_and_buffers_at_most_a_window(
    window: int, pieces: list[bytes], order: list[int]
) -> None:
    line = Line(window, pieces)

    for actor in order:
        line.step(actor)
    while any(line.step(actor) for actor in range(4)):
        pass

    assert bytes(line.taken) == b"".join(pieces)
    assert line.receiving.state is line.sending.state is State.ENDED
    assert line.receiving.waiting_bytes == 0


@given(BODIES.filter(any), st.data())
def test_a_lost_frame_breaks_the_stream(pieces: list[bytes], data: st.DataObject) -> None:
    line = Line(1 << 22, pieces)
    line.carry(line.up, line.sending)
    while line.send():
        pass
    lost = data.draw(st.integers(0, len(line.down) - 2))
    del line.down[lost]

    for _ in range(lost):
        line.carry(line.down, line.receiving)

    with pytest.raises(StreamBroken, match="lost chunks"):
        line.carry(line.down, line.receiving)


def test_a_chunk_beyond_the_credit_breaks_the_stream() -> None:
    receiving = Receiving(1000)
    receiving.grant()

    with pytest.raises(StreamBroken, match="more than the granted credit"):
        receiving.receive(Frame(FrameKind.CHUNK, 0, bytes(1000)))


def test_chunks_never_exceed_the_chunk_size() -> None:
    sending = Sending()
    sending.receive(Frame(FrameKind.CREDIT, 1 << 22, b""))

    frame, size = sending.chunk(memoryview(bytes(1 << 20)))

    assert size == CHUNK_BYTES
    assert len(decode(frame).data) == CHUNK_BYTES


def test_repeated_credit_grants_no_more() -> None:
    receiving, sending = Receiving(1000), Sending()
    credit = receiving.grant()
    assert credit is not None
    sending.receive(decode(credit))
    sending.chunk(memoryview(bytes(900)))

    sending.receive(decode(receiving.credit()))

    assert not sending.has_credit
    assert receiving.grant() is None


@pytest.mark.parametrize(
    ("end", "frame"),
    [
        (Sending(), Frame(FrameKind.CHUNK, 0, b"")),
        (Sending(), Frame(FrameKind.END, 0, b"")),
        (Receiving(), Frame(FrameKind.CREDIT, 1, b"")),
        (Receiving(), Frame(FrameKind.END, 1, b"")),
    ],
)
def test_an_unexpected_frame_breaks_the_stream(end: Sending | Receiving, frame: Frame) -> None:
    with pytest.raises(StreamBroken):
        end.receive(frame)


def test_credit_cannot_be_reduced() -> None:
    sending = Sending()
    sending.receive(Frame(FrameKind.CREDIT, 10, b""))

    with pytest.raises(StreamBroken):
        sending.receive(Frame(FrameKind.CREDIT, 9, b""))


def test_a_frame_after_the_end_breaks_the_stream() -> None:
    receiving = Receiving()
    receiving.grant()
    receiving.receive(Frame(FrameKind.END, 0, b""))

    with pytest.raises(StreamBroken, match="after its end"):
        receiving.receive(Frame(FrameKind.CHUNK, 0, b"late"))


@pytest.mark.parametrize("end", [Sending(), Receiving()])
def test_the_first_reset_is_final_and_keeps_its_error(end: Sending | Receiving) -> None:
    end.receive(decode(encode_reset(ComponentFailed("api failed", hop="api@1"))))
    end.receive(decode(encode_reset(None)))

    assert end.state is State.RESET
    assert isinstance(end.error, ComponentFailed)
    assert (end.error.detail, end.error.hop) == ("api failed", "api@1")


def test_chunks_before_a_reset_can_be_read_until_they_are_dropped() -> None:
    receiving = Receiving()
    receiving.grant()
    for number in range(2):
        receiving.receive(Frame(FrameKind.CHUNK, number, b"some"))
    receiving.receive(decode(encode_reset(None)))

    assert receiving.next_chunk() == b"some"
    receiving.clear()
    assert receiving.next_chunk() is None
    assert receiving.error is None
    assert receiving.waiting_bytes == 0


def test_a_ping_changes_nothing() -> None:
    for end in (Sending(), Receiving()):
        end.receive(decode(encode(FrameKind.PING)))
        assert end.state is State.OPEN


@given(st.binary(max_size=20))
def test_random_bytes_are_no_stream_frame(payload: bytes) -> None:
    try:
        frame = decode(payload)
    except StreamBroken:
        return

    assert encode(*frame) == payload


def test_an_undecodable_reset_error_becomes_stream_broken() -> None:
    receiving = Receiving()

    receiving.receive(Frame(FrameKind.RESET, 0, b"\xc1"))

    assert isinstance(receiving.error, StreamBroken)
