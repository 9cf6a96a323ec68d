from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import codec
from kubefox.errors import ErrorDetail, InvalidEvent
from kubefox.event import Event, EventType, ResponseHead

texts = st.text(max_size=20)
headers = st.lists(st.tuples(texts, texts), max_size=5).map(tuple)
events = st.builds(
    Event,
    id=texts,
    genesis_id=texts,
    type=st.sampled_from([EventType.HTTP, EventType.CRON, EventType.COMPONENT]),
    context=texts,
    source=texts,
    deadline_ms=st.integers(0, 2**63 - 1),
    handler=st.integers(-1, 1000),
    method=texts,
    path=texts,
    query=texts,
    headers=headers,
    params=st.dictionaries(texts, texts, max_size=3),
    traceparent=texts,
)
responses = st.builds(
    ResponseHead,
    status=st.integers(0, 599),
    headers=headers,
    source=texts,
    error=st.none() | st.builds(ErrorDetail, texts, texts, texts),
)

EVENT = Event(id="e", genesis_id="e", type=EventType.HTTP, context="c", source="s", deadline_ms=1)


@given(events, st.binary())
def test_an_event_survives_encoding(event: Event, body: bytes) -> None:
    head, tail = codec.decode_event(codec.encode(event, body))

    assert (head, bytes(tail)) == (event, body)


@given(responses, st.binary())
def test_a_response_survives_encoding(response: ResponseHead, body: bytes) -> None:
    head, tail = codec.decode_response(codec.encode(response, body))

    assert (head, bytes(tail)) == (response, body)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_can_be_a_body(wrap: type[codec.Body]) -> None:
    frame = codec.encode(EVENT, wrap(b"body"))

    assert bytes(codec.decode_event(frame)[1]) == b"body"


def test_a_large_body_is_a_view_into_the_frame() -> None:
    frame = codec.encode(EVENT, bytes(100_000))

    _, body = codec.decode_event(frame)

    assert isinstance(body, memoryview)
    assert body.obj is frame


@given(events, st.data())
def test_a_truncated_frame_is_refused(event: Event, data: st.DataObject) -> None:
    frame = codec.encode(event)
    length = data.draw(st.integers(0, len(frame) - 1))

    with pytest.raises(InvalidEvent):
        codec.decode_event(frame[:length])


@given(st.binary())
def test_random_bytes_are_no_frame(head: bytes) -> None:
    frame = bytes([codec.VERSION]) + len(head).to_bytes(3, "big") + head

    for decode in (codec.decode_event, codec.decode_response):
        with pytest.raises(InvalidEvent):
            decode(frame)


@pytest.mark.parametrize("version", [0, codec.VERSION + 1, 255])
def test_a_frame_of_another_version_is_refused(version: int) -> None:
    frame = bytes([version]) + codec.encode(EVENT)[1:]

    with pytest.raises(InvalidEvent, match=f"not of version {codec.VERSION}"):
        codec.decode_event(frame)


@pytest.mark.parametrize(
    ("head", "decode"),
    [(EVENT, codec.decode_event), (ResponseHead(status=200), codec.decode_response)],
)
def test_a_deeply_nested_head_is_refused(
    head: Event | ResponseHead, decode: Callable[[bytes], object]
) -> None:
    fields = msgspec.msgpack.encode(head)
    one_field_more = bytes([fields[0] + 1]) + fields[1:] + b"\x91" * 100_000
    frame = bytes([codec.VERSION]) + len(one_field_more).to_bytes(3, "big") + one_field_more

    with pytest.raises(InvalidEvent):
        decode(frame)


def test_an_unknown_last_field_of_a_newer_peer_is_ignored() -> None:
    fields = [*msgspec.msgpack.decode(msgspec.msgpack.encode(EVENT)), {"added": [1, 2]}]
    head = msgspec.msgpack.encode(fields)
    frame = bytes([codec.VERSION]) + len(head).to_bytes(3, "big") + head + b"body"

    event, body = codec.decode_event(frame)

    assert event == EVENT
    assert bytes(body) == b"body"


def test_a_head_larger_than_its_length_field_allows_is_refused() -> None:
    event = msgspec.structs.replace(EVENT, query="q" * (codec.MAX_HEAD_BYTES + 1))

    with pytest.raises(InvalidEvent, match="a frame holds 16777215"):
        codec.encode(event)
