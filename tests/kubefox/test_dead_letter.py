from __future__ import annotations

import msgspec
import pytest

from kubefox import codec, dead_letter, subjects
from kubefox.dead_letter import DeadLetterRecord
from kubefox.errors import ErrorDetail, InvalidEvent
from kubefox.event import Event, EventType

TARGET = subjects.component("shop", "mail", "a" * 32)
EVENT = Event(
    id="e1",
    genesis_id="g1",
    type=EventType.COMPONENT,
    context="token",
    source="web@1",
    deadline_ms=0,
    path="/jobs",
    traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
)


def record_of(frame: bytes) -> DeadLetterRecord:
    reason = ErrorDetail("component_failed", "it failed", "mail@a")
    return DeadLetterRecord(
        target=TARGET,
        frame=frame,
        reason=reason,
        attempts=5,
        emitted_at_s=1.5,
        died_at_s=2.5,
        deployment="v1",
    )


def test_a_dead_letter_record_survives_encoding() -> None:
    record = record_of(codec.encode(EVENT, b"body"))

    assert dead_letter.decode(dead_letter.encode(record)) == record


def test_a_dead_letter_has_the_fields_of_its_event_and_its_failure() -> None:
    letter = dead_letter.to_dead_letter(
        record_of(codec.encode(EVENT, b"body")), "7", with_body=True
    )

    assert (letter.id, letter.event_id, letter.genesis_id) == ("7", "e1", "g1")
    assert (letter.app, letter.component, letter.hash) == ("shop", "mail", "a" * 32)
    assert (letter.trace_id, letter.path, letter.source) == ("1" * 32, "/jobs", "web@1")
    assert (letter.code, letter.hop, letter.attempts) == ("component_failed", "mail@a", 5)
    assert (letter.body, letter.body_base64, letter.size_bytes) == ("body", "", 4)


def test_a_body_is_returned_on_request_and_in_base64_if_it_is_no_text() -> None:
    record = record_of(codec.encode(EVENT, b"\xff\x00"))

    hidden = dead_letter.to_dead_letter(record, "7", with_body=False)
    shown = dead_letter.to_dead_letter(record, "7", with_body=True)

    assert (hidden.body, hidden.body_base64, hidden.size_bytes) == ("", "", 2)
    assert (shown.body, shown.body_base64) == ("", "/wA=")


def test_a_redelivered_event_continues_its_attempt_number_with_a_new_token() -> None:
    event, body = codec.decode_event(
        dead_letter.redelivery_frame(record_of(codec.encode(EVENT, b"body")), lambda _: "resealed")
    )

    assert event == msgspec.structs.replace(EVENT, attempt=6, context="resealed")
    assert bytes(body) == b"body"


def test_an_undecodable_event_is_returned_and_redelivered_unchanged() -> None:
    record = record_of(b"garbage")

    letter = dead_letter.to_dead_letter(record, "7", with_body=True)

    assert (letter.event_id, letter.path, letter.body) == ("", "", "garbage")
    assert dead_letter.redelivery_frame(record, str.upper) == b"garbage"


def test_a_payload_that_is_no_dead_letter_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="dead letter cannot be read"):
        dead_letter.decode(b"\xff")


def test_an_event_without_the_attempt_field_has_attempt_one() -> None:
    fields = msgspec.structs.astuple(EVENT)[:-1]
    head = msgspec.msgpack.encode(fields)
    frame = (codec.VERSION << 24 | len(head)).to_bytes(4, "big") + head

    event, _ = codec.decode_event(frame)

    assert event.attempt == 1


def test_stored_event_and_dead_letter_subjects_name_the_target() -> None:
    emitted, dead = subjects.emitted(TARGET), subjects.dead_letter(TARGET)

    assert (emitted, dead) == (f"emit.shop.mail.{'a' * 32}", f"dead.shop.mail.{'a' * 32}")
    assert subjects.target_of(emitted) == subjects.target_of(dead) == TARGET
    assert subjects.version_of(TARGET) == ("shop", "mail", "a" * 32)
    assert subjects.is_component(TARGET)
    assert not subjects.is_component(subjects.adapter("http"))
