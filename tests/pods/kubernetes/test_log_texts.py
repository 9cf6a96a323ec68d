"""The times of a log's lines, and which of its lines were read before."""

from __future__ import annotations

import pytest

from pods.kubernetes.log_texts import Position, TimedText, TimedTexts, parse_time
from pods.line_splitter import MAX_CHARACTERS

SECOND_NS = 10**9
AT = "2026-12-01T10:00:00"
AT_NS = 1_796_119_200 * SECOND_NS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{AT}Z", AT_NS),
        (f"{AT}.5Z", AT_NS + SECOND_NS // 2),
        (f"{AT}.000000001Z", AT_NS + 1),
        (f"{AT}.123456789Z", AT_NS + 123_456_789),
        ("2026-12-01T11:30:00.000000001+01:30", AT_NS + 1),
        (AT, None),
        ("2026-12-01 10:00:00Z", None),
        ("2026-13-01T10:00:00Z", None),
        ("failed", None),
        ("", None),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, expected: int | None) -> None:
    assert parse_time(text) == expected


def test_lines_have_their_times_however_they_are_cut_into_chunks() -> None:
    log = f"{AT}.1Z one\n{AT}.2Z \n{AT}.3Z drei größer\nno time\n{AT}.4Z last".encode()
    expected = ["one", "", "drei größer", "no time", "last"]

    for size in (1, 7, 1000):
        texts = TimedTexts()
        chunks = [log[at : at + size] for at in range(0, len(log), size)]
        found = [text for chunk in chunks for text in texts.feed(chunk)] + texts.finish()

        assert [text.text for text in found] == expected
        tenths = [(text.at_ns - AT_NS) // (SECOND_NS // 10) for text in found]
        assert tenths == [1, 2, 3, 3, 4]


def test_all_parts_of_a_long_line_have_its_time() -> None:
    text = "x" * 2 * MAX_CHARACTERS

    found = TimedTexts().feed(f"{AT}.5Z {text}\n".encode())

    assert "".join(part.text for part in found) == text
    assert {part.at_ns for part in found} == {AT_NS + SECOND_NS // 2}


def test_lines_that_are_sent_again_are_read_once() -> None:
    position = Position()
    first = [TimedText(1, "a"), TimedText(2, "b"), TimedText(2, "c")]
    again = [*first, TimedText(2, "d"), TimedText(3, "e")]

    read = list(filter(position.take, first))
    position.begin()
    rest = list(filter(position.take, again))

    assert read == first
    assert [text.text for text in rest] == ["d", "e"]


def test_no_line_is_lost_when_the_clock_of_a_node_is_set_back() -> None:
    position = Position()
    position.take(TimedText(10, "a"))
    position.begin()

    read = list(filter(position.take, [TimedText(10, "a"), TimedText(11, "b"), TimedText(5, "c")]))

    assert [text.text for text in read] == ["b", "c"]


def test_a_log_is_asked_for_from_the_second_of_the_last_line_on() -> None:
    position = Position()
    before = position.since

    position.take(TimedText(AT_NS + SECOND_NS - 1, "a"))

    assert (before, position.since) == ("", f"{AT}Z")
