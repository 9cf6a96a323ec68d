from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.events.retry import (
    JITTER,
    MAX_PAUSE_S,
    MAX_WAITING_PAUSE_S,
    RetryDecision,
    attempt_limit_s,
    decide_retry,
    reason_of,
    retry_pause_s,
    status_of,
    waiting_pause_s,
)
from kubefox.errors import (
    BodyTooLarge,
    ComponentFailed,
    ComponentGone,
    ComponentMismatch,
    DeadlineExceeded,
    FoxError,
    InvalidContext,
    InvalidEvent,
    NatsUnavailable,
    NoPodReady,
    NotDeclared,
    Overloaded,
    RevisionConflict,
    RouteNotFound,
)


@pytest.mark.parametrize("status", [200, 204, 303, 399])
def test_a_status_below_400_is_done(status: int) -> None:
    assert decide_retry(status, attempt=5, attempts=5) is RetryDecision.DONE


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_a_permanent_failure_is_a_dead_letter_at_once(status: int) -> None:
    assert decide_retry(status, attempt=1, attempts=5) is RetryDecision.DEAD_LETTER


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_a_temporary_failure_is_tried_again_until_no_attempt_is_left(status: int) -> None:
    decisions = [decide_retry(status, attempt=attempt, attempts=3) for attempt in (1, 2, 3, 4)]

    assert decisions == [
        RetryDecision.RETRY,
        RetryDecision.RETRY,
        RetryDecision.DEAD_LETTER,
        RetryDecision.DEAD_LETTER,
    ]


@pytest.mark.parametrize(
    ("kind", "decision"),
    [
        (NoPodReady, RetryDecision.RETRY),
        (ComponentGone, RetryDecision.RETRY),
        (ComponentFailed, RetryDecision.RETRY),
        (DeadlineExceeded, RetryDecision.RETRY),
        (NatsUnavailable, RetryDecision.RETRY),
        (Overloaded, RetryDecision.RETRY),
        (RevisionConflict, RetryDecision.RETRY),
        (ComponentMismatch, RetryDecision.DEAD_LETTER),
        (NotDeclared, RetryDecision.DEAD_LETTER),
        (InvalidContext, RetryDecision.DEAD_LETTER),
        (InvalidEvent, RetryDecision.DEAD_LETTER),
        (RouteNotFound, RetryDecision.DEAD_LETTER),
        (BodyTooLarge, RetryDecision.DEAD_LETTER),
    ],
)
def test_the_kind_of_failure_decides_whether_to_retry(
    kind: type[FoxError], decision: RetryDecision
) -> None:
    assert decide_retry(status_of(kind("why")), attempt=1, attempts=5) is decision


def test_a_pause_grows_fourfold_with_each_attempt_up_to_a_limit() -> None:
    assert [retry_pause_s(attempt, 0.5, 0.5) for attempt in (1, 2, 3, 4)] == [0.5, 2, 8, 32]
    assert retry_pause_s(10_000, 0.5, 0.5) == MAX_PAUSE_S


def test_a_pause_without_a_begun_attempt_doubles_up_to_a_lower_limit() -> None:
    assert [waiting_pause_s(waited, 0.5, 0.5) for waited in (0, 1, 2)] == [0.5, 1, 2]
    assert waiting_pause_s(10_000, 0.5, 0.5) == MAX_WAITING_PAUSE_S


@given(
    count=st.integers(1, 100),
    retry_s=st.floats(0.001, 1_000),
    randomness=st.floats(0, 1, exclude_max=True),
)
def test_a_pause_varies_by_a_quarter_around_the_pause_without_jitter(
    count: int, retry_s: float, randomness: float
) -> None:
    for pause_of in (retry_pause_s, waiting_pause_s):
        middle_s = pause_of(count, retry_s, 0.5)

        pause_s = pause_of(count, retry_s, randomness)

        assert middle_s * (1 - JITTER) * 0.999 <= pause_s <= middle_s * (1 + JITTER) * 1.001
        assert pause_of(count, retry_s, 0) < pause_of(count, retry_s, 0.9)


@pytest.mark.parametrize(
    ("emitted_s", "handler_s", "limit_s"),
    [(0, None, 30), (5, None, 5), (0, 60, 60), (5, 60, 5), (90, 60, 60), (90, None, 90)],
)
def test_the_limit_of_an_attempt_is_the_emitters_or_the_handlers_whichever_is_lower(
    emitted_s: float, handler_s: float | None, limit_s: float
) -> None:
    assert attempt_limit_s(emitted_s, handler_s, 30) == limit_s


def test_an_event_that_never_began_is_always_tried_again() -> None:
    assert decide_retry(503, attempt=0, attempts=1) is RetryDecision.RETRY


@pytest.mark.parametrize(("status", "code"), [(404, "refused"), (500, "component_failed")])
def test_the_reason_names_the_component_and_its_status(status: int, code: str) -> None:
    reason = reason_of(status, "api@1")

    assert (reason.code, reason.detail, reason.hop) == (
        code,
        f"api@1 responded with status {status}",
        "api@1",
    )
