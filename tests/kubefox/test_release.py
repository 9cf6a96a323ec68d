import msgspec
import pytest

from kubefox.environment import PolicyType, ReleasePolicy
from kubefox.errors import Problem, ReleaseNotFound
from kubefox.release import (
    ArchiveReason,
    Release,
    ReleasedApp,
    ReleaseState,
    abort,
    activate,
    deployments_in_use,
    expire,
    manifests_in_use,
    record_problems,
    request,
    rollback,
    rollback_target,
    withdraw,
)

POLICY = ReleasePolicy(type=PolicyType.STABLE, activation_deadline_s=300, history_limit=3)
EMPTY = ReleaseState(virtual_environment="team-a")
PROBLEM = Problem(type="PodNotReady", message="not yet", path="components.api-server")


def release(number: int, *, at_s: float = 0) -> Release:
    return Release(
        id=f"r{number}",
        apps={"order-app": ReleasedApp(deployment=f"v{number}")},
        manifest=f"m{number}",
        requested_at_s=at_s,
    )


def released(*numbers: int) -> ReleaseState:
    state = EMPTY
    for number in numbers:
        state = request(state, release(number, at_s=number), POLICY)
        state = activate(state, POLICY, now_s=number + 0.5)
    return state


def ids(releases: tuple[Release, ...]) -> list[str]:
    return [releas.id for releas in releases]


def test_a_requested_release_is_pending_and_the_active_one_stays() -> None:
    state = request(released(1), release(2), POLICY)

    assert state.pending == release(2)
    assert state.active is not None
    assert state.active.id == "r1"


def test_a_newer_request_replaces_the_pending_one() -> None:
    state = request(EMPTY, release(1), POLICY)

    state = request(state, release(2, at_s=9), POLICY)

    assert state.pending == release(2, at_s=9)
    assert ids(state.history) == ["r1"]
    assert state.history[0].archive_reason is ArchiveReason.SUPERSEDED
    assert state.history[0].archived_at_s == 9


def test_a_pending_release_records_its_problems() -> None:
    state = record_problems(request(released(1), release(2), POLICY), (PROBLEM,))

    assert state.pending == msgspec.structs.replace(release(2), problems=(PROBLEM,))
    assert state.active == released(1).active
    assert record_problems(EMPTY, (PROBLEM,)) is EMPTY


def test_an_activated_release_has_no_problems() -> None:
    waiting = msgspec.structs.replace(release(1), problems=(PROBLEM,))

    state = activate(request(EMPTY, waiting, POLICY), POLICY, now_s=4)

    assert state.pending is None
    assert state.active == msgspec.structs.replace(release(1), activated_at_s=4)
    assert state.history == ()


def test_activating_archives_the_release_before_it() -> None:
    state = released(1, 2)

    assert state.active is not None
    assert state.active.id == "r2"
    assert ids(state.history) == ["r1"]
    assert state.history[0].archive_reason is ArchiveReason.SUPERSEDED
    assert state.history[0].archived_at_s == 2.5


def test_activating_without_a_pending_release_is_an_error() -> None:
    with pytest.raises(ReleaseNotFound, match="team-a has no pending release"):
        activate(released(1), POLICY, now_s=1)


@pytest.mark.parametrize("now_s", [100, 399.9])
def test_a_pending_release_stays_until_its_deadline(now_s: float) -> None:
    state = request(released(1), release(2, at_s=100), POLICY)

    assert expire(state, POLICY, now_s=now_s) is state


def test_a_pending_release_is_archived_at_its_deadline_and_the_active_one_stays() -> None:
    state = request(released(1), release(2, at_s=100), POLICY)

    state = expire(state, POLICY, now_s=400)

    assert state.pending is None
    assert state.active == released(1).active
    assert state.history[0].archive_reason is ArchiveReason.DEADLINE_EXCEEDED
    assert state.history[0].archived_at_s == 400


def test_an_aborted_release_is_archived_and_the_active_one_stays() -> None:
    state = request(released(1), release(2, at_s=100), POLICY)

    state = abort(state, POLICY, now_s=101)

    assert state.pending is None
    assert state.active == released(1).active
    assert state.history[0].archive_reason is ArchiveReason.ABORTED
    assert state.history[0].archived_at_s == 101


def test_aborting_without_a_pending_release_is_an_error() -> None:
    with pytest.raises(ReleaseNotFound, match="team-a has no pending release"):
        abort(released(1), POLICY, now_s=1)


def test_expiring_without_a_pending_release_changes_nothing() -> None:
    state = released(1)

    assert expire(state, POLICY, now_s=10_000) is state


def test_the_history_keeps_the_newest_up_to_its_limit() -> None:
    assert ids(released(1, 2, 3, 4, 5).history) == ["r4", "r3", "r2"]


def test_a_rollback_restores_the_last_active_release_whole_under_a_new_id() -> None:
    state = expire(request(released(1, 2), release(3, at_s=100), POLICY), POLICY, now_s=400)

    target = rollback_target(state, None)
    state = rollback(state, target, POLICY, now_s=500, new_id="r4")

    assert target.id == "r1"
    assert state.pending == Release(id="r4", apps=target.apps, manifest="m1", requested_at_s=500)


def test_a_rollback_can_name_its_release() -> None:
    assert rollback_target(released(1, 2, 3), "r1").id == "r1"


@pytest.mark.parametrize(
    ("state", "release_id", "message"),
    [
        (EMPTY, None, "no earlier active release"),
        (released(1), None, "no earlier active release"),
        (released(1, 2), "r9", "no release r9"),
        (request(request(EMPTY, release(1), POLICY), release(2), POLICY), "r1", "no release r1"),
    ],
    ids=["nothing at all", "only the active one", "unknown", "never active"],
)
def test_only_a_release_that_was_active_can_be_restored(
    state: ReleaseState, release_id: str | None, message: str
) -> None:
    with pytest.raises(ReleaseNotFound, match=message):
        rollback_target(state, release_id)


def test_manifests_stay_in_use_while_any_release_names_them() -> None:
    live = msgspec.structs.replace(release(4), manifest=None)

    state = request(released(1, 2, 3), live, POLICY)

    assert manifests_in_use(state) == {"m1", "m2", "m3"}
    assert manifests_in_use(EMPTY) == frozenset()


def test_deployments_are_in_use_by_the_active_and_the_pending_release_only() -> None:
    state = request(released(1, 2), release(3), POLICY)

    assert deployments_in_use(state) == {"v2", "v3"}
    assert deployments_in_use(EMPTY) == frozenset()


def test_a_withdrawal_archives_both_releases_the_active_one_first() -> None:
    state = withdraw(request(released(1, 2), release(3), POLICY), POLICY, now_s=9)

    assert (state.active, state.pending) == (None, None)
    assert ids(state.history) == ["r2", "r3", "r1"]
    assert {release.archive_reason for release in state.history[:2]} == {ArchiveReason.WITHDRAWN}
    assert {release.archived_at_s for release in state.history[:2]} == {9}
    assert rollback_target(state, None).id == "r2"


def test_a_withdrawal_without_releases_changes_nothing() -> None:
    assert withdraw(EMPTY, POLICY, now_s=9) == EMPTY
