"""Credit is given so that few bytes are on their way, fairly by lanes and in turn by streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.fair_share import Lane
from broker.streams.transit import FIRST_BYTES, MOST_FREED, TURN_BYTES, UNUSED_S, Transit

KIB = 1024
LIMIT_BYTES = 64 * KIB


class Stream:
    """A stream whose reader reads everything at once."""

    def __init__(self, lane: str, window_bytes: int = 32 * KIB) -> None:
        self.lane: Lane = lane
        self.transit_bytes = 0
        self.window_bytes = window_bytes
        self.granted_bytes = self.arrived_bytes = 0
        self.is_over = False

    @property
    def wanted_bytes(self) -> int:
        free_bytes = self.window_bytes - (self.granted_bytes - self.arrived_bytes)
        return free_bytes if free_bytes >= self.window_bytes // 2 and not self.is_over else 0

    @property
    def has_credit_sent(self) -> bool:
        return self.granted_bytes > 0

    def send_credit(self, more_bytes: int) -> None:
        self.granted_bytes += more_bytes


def ask(transit: Transit, *streams: Stream, now_s: float = 0) -> None:
    for stream in streams:
        if stream.wanted_bytes:
            transit.ask(stream, now_s)


def arrive(transit: Transit, stream: Stream, now_s: float = 0) -> None:
    """Receive all bytes that a stream may send."""
    size_bytes = stream.granted_bytes - stream.arrived_bytes
    stream.arrived_bytes += size_bytes
    transit.arrive(stream, size_bytes, now_s)


def test_a_stream_alone_gets_its_whole_window_at_once() -> None:
    stream = Stream("a")

    ask(Transit(LIMIT_BYTES), stream)

    assert stream.granted_bytes == stream.window_bytes


def test_few_bytes_are_on_their_way_to_many_streams() -> None:
    transit = Transit(LIMIT_BYTES)

    ask(transit, *(Stream("a") for _ in range(1_000)))

    assert transit.taken_bytes <= LIMIT_BYTES


def test_a_stream_of_another_lane_gets_credit_at_once() -> None:
    transit, other = Transit(LIMIT_BYTES), Stream("b")
    ask(transit, *(Stream("a") for _ in range(1_000)))

    ask(transit, other)

    assert other.granted_bytes == FIRST_BYTES


def test_streams_of_a_lane_get_credit_in_turn() -> None:
    transit, streams = Transit(LIMIT_BYTES), [Stream("a") for _ in range(20)]
    ask(transit, *streams)
    for _ in range(100):
        for stream in streams:
            arrive(transit, stream)
            ask(transit, stream)

    granted = [stream.granted_bytes for stream in streams]

    assert max(granted) - min(granted) <= 2 * TURN_BYTES


def test_unused_credit_leaves_room_for_others_after_some_time() -> None:
    transit = Transit(LIMIT_BYTES)
    silent, last = [Stream("a") for _ in range(100)], Stream("a")
    ask(transit, *silent, last)

    rounds = 0
    while not last.granted_bytes:
        rounds += 1
        transit.free_unused(now_s=2 * rounds * UNUSED_S)

    assert rounds < len(silent) * FIRST_BYTES / LIMIT_BYTES + 2
    assert all(stream.granted_bytes for stream in silent)


def test_unused_credit_of_many_streams_is_freed_some_at_a_time() -> None:
    transit = Transit(100 * MOST_FREED * FIRST_BYTES)
    streams = [Stream("a") for _ in range(2 * MOST_FREED + 1)]
    ask(transit, *streams)
    taken_bytes = [transit.taken_bytes]

    while transit.free_unused(now_s=2 * UNUSED_S):
        taken_bytes.append(transit.taken_bytes)

    assert [taken // streams[0].granted_bytes for taken in taken_bytes] == [
        2 * MOST_FREED + 1,
        MOST_FREED + 1,
        1,
    ]
    assert not transit.is_used


def test_a_stream_that_is_over_leaves_its_room_and_its_turn() -> None:
    transit = Transit(LIMIT_BYTES)
    streams = [Stream("a") for _ in range(100)]
    ask(transit, *streams)
    waiting = [stream for stream in streams if not stream.granted_bytes]

    for stream in (*waiting, *streams):
        stream.is_over = True
        transit.forget(stream, 0)

    assert transit.taken_bytes == 0
    assert not transit.is_used
    assert not any(stream.granted_bytes for stream in waiting)


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "arrive", "forget", "wait"]), st.integers(0, 11)),
        max_size=200,
    )
)
def test_every_stream_gets_all_of_its_credit_in_the_end(steps: list[tuple[str, int]]) -> None:
    transit, now_s = Transit(LIMIT_BYTES), 0.0
    streams = [Stream(f"{number % 6}") for number in range(12)]
    for step, number in steps:
        stream = streams[number]
        match step:
            case "ask":
                ask(transit, stream, now_s=now_s)
            case "arrive":
                arrive(transit, stream, now_s)
            case "forget":
                stream.is_over = True
                transit.forget(stream, now_s)
            case _:
                now_s += 2 * UNUSED_S
                transit.free_unused(now_s)
        assert transit.taken_bytes == sum(stream.transit_bytes for stream in streams)
        assert transit.taken_bytes < 2 * LIMIT_BYTES
        assert transit.is_used == (transit.taken_bytes > 0)

    open_streams = [stream for stream in streams if not stream.is_over]
    for _ in range(20):
        ask(transit, *open_streams, now_s=now_s)
        now_s += 2 * UNUSED_S
        transit.free_unused(now_s)

    assert not any(stream.wanted_bytes for stream in open_streams)
