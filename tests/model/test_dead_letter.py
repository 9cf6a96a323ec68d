from __future__ import annotations

import msgspec
import pytest

from model import codec, dead_letter, subjects
from model.dead_letter import Burial
from model.errors import ErrorDetail, InvalidEvent
from model.event import Event, EventType

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


def burial(frame: bytes) -> Burial:
    reason = ErrorDetail("component_failed", "it failed", "mail@a")
    return Burial(
        target=TARGET,
        frame=frame,
        reason=reason,
        attempts=5,
        emitted_at_s=1.5,
        died_at_s=2.5,
        deployment="v1",
    )


def test_a_dead_letter_comes_back_as_it_was_stored() -> None:
    buried = burial(codec.encode(EVENT, b"body"))

    assert dead_letter.decode(dead_letter.encode(buried)) == buried


def test_a_letter_tells_of_its_event_and_of_its_end() -> None:
    letter = dead_letter.show(burial(codec.encode(EVENT, b"body")), "7", with_body=True)

    assert (letter.id, letter.event_id, letter.genesis_id) == ("7", "e1", "g1")
    assert (letter.app, letter.component, letter.hash) == ("shop", "mail", "a" * 32)
    assert (letter.trace_id, letter.path, letter.source) == ("1" * 32, "/jobs", "web@1")
    assert (letter.code, letter.hop, letter.attempts) == ("component_failed", "mail@a", 5)
    assert (letter.body, letter.body_base64, letter.size_bytes) == ("body", "", 4)


def test_a_body_is_shown_only_if_asked_for_and_in_base64_if_it_is_no_text() -> None:
    buried = burial(codec.encode(EVENT, b"\xff\x00"))

    hidden = dead_letter.show(buried, "7", with_body=False)
    shown = dead_letter.show(buried, "7", with_body=True)

    assert (hidden.body, hidden.body_base64, hidden.size_bytes) == ("", "", 2)
    assert (shown.body, shown.body_base64) == ("", "/wA=")


def test_an_event_that_is_sent_again_counts_its_attempts_on() -> None:
    event, body = codec.decode_event(dead_letter.revived(burial(codec.encode(EVENT, b"body"))))

    assert event == msgspec.structs.replace(EVENT, attempt=6)
    assert bytes(body) == b"body"


def test_what_is_no_event_is_shown_and_sent_as_it_is() -> None:
    buried = burial(b"garbage")

    letter = dead_letter.show(buried, "7", with_body=True)

    assert (letter.event_id, letter.path, letter.body) == ("", "", "garbage")
    assert dead_letter.revived(buried) == b"garbage"


def test_what_is_no_dead_letter_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="dead letter cannot be read"):
        dead_letter.decode(b"\xff")


def test_an_event_of_before_has_been_delivered_once() -> None:
    fields = msgspec.structs.astuple(EVENT)[:-1]
    head = msgspec.msgpack.encode(fields)
    frame = (codec.VERSION << 24 | len(head)).to_bytes(4, "big") + head

    event, _ = codec.decode_event(frame)

    assert event.attempt == 1


def test_the_subjects_of_an_event_name_its_target() -> None:
    emitted, dead = subjects.emitted(TARGET), subjects.dead_letter(TARGET)

    assert (emitted, dead) == (f"emit.shop.mail.{'a' * 32}", f"dead.shop.mail.{'a' * 32}")
    assert subjects.target_of(emitted) == subjects.target_of(dead) == TARGET
    assert subjects.version_of(TARGET) == ("shop", "mail", "a" * 32)
    assert subjects.is_component(TARGET)
    assert not subjects.is_component(subjects.adapter("http"))
