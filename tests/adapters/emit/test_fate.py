from __future__ import annotations

import pytest

from adapters.emit_fate import MAX_DELAY_S, Fate, delay_s, fate_of, reason_of, status_of
from model.errors import (
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
def test_what_is_answered_below_400_is_done(status: int) -> None:
    assert fate_of(status, attempt=5, attempts=5) is Fate.DONE


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_what_is_refused_is_given_up_at_once(status: int) -> None:
    assert fate_of(status, attempt=1, attempts=5) is Fate.DEAD


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_has_all_its_attempts(status: int) -> None:
    fates = [fate_of(status, attempt=attempt, attempts=3) for attempt in (1, 2, 3, 4)]

    assert fates == [Fate.AGAIN, Fate.AGAIN, Fate.DEAD, Fate.DEAD]


@pytest.mark.parametrize(
    ("kind", "fate"),
    [
        (NoPodReady, Fate.AGAIN),
        (ComponentGone, Fate.AGAIN),
        (ComponentFailed, Fate.AGAIN),
        (DeadlineExceeded, Fate.AGAIN),
        (NatsUnavailable, Fate.AGAIN),
        (Overloaded, Fate.AGAIN),
        (RevisionConflict, Fate.AGAIN),
        (ComponentMismatch, Fate.DEAD),
        (NotDeclared, Fate.DEAD),
        (InvalidContext, Fate.DEAD),
        (InvalidEvent, Fate.DEAD),
        (RouteNotFound, Fate.DEAD),
        (BodyTooLarge, Fate.DEAD),
    ],
)
def test_a_failure_is_tried_again_only_if_that_can_help(kind: type[FoxError], fate: Fate) -> None:
    assert fate_of(status_of(kind("why")), attempt=1, attempts=5) is fate


def test_pauses_grow_four_times_with_each_attempt_up_to_a_limit() -> None:
    assert [delay_s(attempt, 0.5) for attempt in (1, 2, 3, 4)] == [0.5, 2, 8, 32]
    assert delay_s(10_000, 0.5) == MAX_DELAY_S


@pytest.mark.parametrize(("status", "code"), [(404, "refused"), (500, "component_failed")])
def test_the_reason_tells_who_answered_what(status: int, code: str) -> None:
    reason = reason_of(status, "api@1")

    assert (reason.code, reason.detail, reason.hop) == (code, f"api@1 answered {status}", "api@1")
