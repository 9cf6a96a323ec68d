"""The latest answers of a pod, which are bounded in number, size and age."""

from __future__ import annotations

from broker.dispatch.recent_answers import (
    KEEP_S,
    MOST_ANSWER_BYTES,
    MOST_ANSWERS,
    MOST_BYTES,
    RecentAnswers,
)


class Time:
    def __init__(self) -> None:
        self.s = 1000.0

    def now_s(self) -> float:
        return self.s


def test_answers_to_events_that_may_be_sent_again_are_not_kept() -> None:
    answers = RecentAnswers()

    for method in ("GET", "PUT", "POST"):
        answers.add(method, f"reply.{method}", b"answer")

    asked = ("reply.GET", "reply.PUT", "reply.POST", "reply.unknown")
    assert answers.answers_to(asked) == {"reply.POST": b"answer"}


def test_of_a_long_answer_only_the_event_is_remembered() -> None:
    answers = RecentAnswers()

    answers.add("POST", "reply.long", bytes(MOST_ANSWER_BYTES + 1))

    assert answers.answers_to(["reply.long"]) == {"reply.long": b""}


def test_the_oldest_answers_are_dropped_first_and_their_events_remembered() -> None:
    answers = RecentAnswers()
    count = MOST_BYTES // MOST_ANSWER_BYTES + 1

    for number in range(count):
        answers.add("POST", f"reply.{number}", bytes(MOST_ANSWER_BYTES))

    kept = answers.answers_to(f"reply.{number}" for number in range(count))
    assert [reply for reply, frame in kept.items() if not frame] == ["reply.0"]
    assert len(kept) == count


def test_events_of_long_ago_are_forgotten_and_that_is_known() -> None:
    time = Time()
    answers = RecentAnswers(time.now_s)
    assert answers.known_since_us == 1_000_000_000
    assert RecentAnswers(time.now_s, is_new=True).known_since_us == 0
    answers.add("POST", "reply.old", b"answer")

    time.s += KEEP_S + 1
    answers.add("POST", "reply.new", b"answer")

    assert answers.answers_to(["reply.old", "reply.new"]) == {"reply.new": b"answer"}
    assert answers.known_since_us == 1_000_000_000


def test_the_number_of_events_is_bounded() -> None:
    time = Time()
    answers = RecentAnswers(time.now_s)

    for number in range(MOST_ANSWERS + 1):
        time.s += 0.001
        answers.add("POST", f"reply.{number}", b"")

    assert answers.answers_to(["reply.0", "reply.1"]) == {"reply.1": b""}
    assert answers.known_since_us == 1_000_001_000
