"""A history inside a record is bounded in number and in bytes."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubefox.bounded_history import MAX_HISTORY_BYTES, bounded_history
from kubefox.deployment import Deployment
from kubefox.environment import ReleasePolicy
from kubefox.errors import Problem
from kubefox.release import Release, ReleasedApp, ReleaseState, activate, request
from kubefox.rollout import RolloutState, begin, complete, undo_target


class Entry(msgspec.Struct, frozen=True):
    """An entry of any size."""

    text: str


def size(*entries: msgspec.Struct) -> int:
    return sum(len(msgspec.json.encode(entry)) for entry in entries)


@given(
    st.lists(st.builds(Entry, st.text("x", max_size=60)), min_size=1).map(tuple),
    st.integers(1, 10),
    st.integers(0, 300),
)
def test_the_newest_entries_are_kept_as_many_as_the_bounds_allow(
    entries: tuple[Entry, ...], limit: int, max_bytes: int
) -> None:
    kept = bounded_history(entries, limit, max_bytes=max_bytes)

    assert kept == entries[: len(kept)]
    assert 1 <= len(kept) <= limit
    assert len(kept) == 1 or size(*kept) <= max_bytes
    more = entries[: len(kept) + 1]
    assert len(more) == len(kept) or len(kept) == limit or size(*more) > max_bytes


def test_archived_releases_with_many_problems_do_not_fill_the_record() -> None:
    state, policy = ReleaseState(virtual_environment="team-a"), ReleasePolicy(history_limit=100)
    problem = Problem(type="PodNotReady", message="m" * 1_000, path="apps")
    for number in range(40):
        problems = (problem,) * 10
        release = Release(
            id=f"r{number}", apps={}, manifest=None, requested_at_s=number, problems=problems
        )
        state = request(state, release, policy)

    assert size(*state.history) <= MAX_HISTORY_BYTES
    assert state.history[0].id == "r38"
    assert state.pending is not None
    assert state.pending.id == "r39"


def test_each_generation_that_is_kept_can_be_restored() -> None:
    def content(generation: int) -> Deployment:
        names = (f"component-{generation}-{number}" for number in range(300))
        components = dict.fromkeys(names, f"{generation:032x}")
        return Deployment(name="main", app="shop", components=components, generation=generation)

    state = RolloutState(deployment="main")
    for generation in range(1, 12):
        rolling = begin(state, content(generation), content(0), now_s=0, deadline_s=1)
        state = complete(rolling)

    kept = [earlier.generation for earlier in state.history]
    assert size(*state.history) <= MAX_HISTORY_BYTES
    assert kept == list(range(11, 11 - len(kept), -1))
    for generation in kept:
        target = undo_target(state, content(12), generation)
        assert target.components == content(generation).components


def test_the_release_before_the_active_one_is_kept_whatever_its_size() -> None:
    state, policy = ReleaseState(virtual_environment="team-a"), ReleasePolicy()
    for name in ("r1", "r2"):
        apps = {f"app-{number}": ReleasedApp(deployment=name) for number in range(2_000)}
        release = Release(id=name, apps=apps, manifest=None, requested_at_s=0)
        state = activate(request(state, release, policy), policy, now_s=1)

    assert size(*state.history) > MAX_HISTORY_BYTES
    assert [release.id for release in state.history] == ["r1"]
