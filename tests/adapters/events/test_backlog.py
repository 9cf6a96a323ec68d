"""Events of a version without a pod are spread over time, and delay no others."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from adapters.events.backlog import MAX_VERSIONS, PROBE_S, RATE_PER_S, Backlog


def test_events_of_a_version_with_a_pod_do_not_wait() -> None:
    backlog = Backlog()

    backlog.close("a", 100, 1)
    backlog.open("a")

    assert backlog.pause_s("a", 100) == 0
    assert backlog.pause_s("b", 100) == 0


def test_one_event_after_the_pause_finds_out_whether_there_is_a_pod() -> None:
    backlog = Backlog()

    backlog.close("a", 100, 1)

    assert backlog.pause_s("a", 100.5) > 0.5
    assert backlog.pause_s("a", 101) == 0
    assert backlog.pause_s("a", 101) > 0
    assert backlog.pause_s("a", 101 + PROBE_S) == 0


@given(offsets_s=st.lists(st.floats(0, 0.9), min_size=2, max_size=50))
def test_no_more_than_the_rate_come_again(offsets_s: list[float]) -> None:
    backlog = Backlog()
    backlog.close("a", 100, 1)

    due_s = [100 + offset_s + backlog.pause_s("a", 100 + offset_s) for offset_s in offsets_s]

    assert min(due_s) > 101
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(due_s)]
    assert all(gap_s >= 0.99 / RATE_PER_S for gap_s in gaps_s)


def test_the_number_of_versions_is_limited() -> None:
    backlog = Backlog()

    for number in range(MAX_VERSIONS + 1):
        backlog.close(str(number), 100, 1)

    assert backlog.pause_s("0", 100) == 0
    assert backlog.pause_s(str(MAX_VERSIONS), 100) > 0
