"""The agenda holds the reviews that a change, a pod or time makes due, and no others."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from control.review_agenda import Agenda, Review, ReviewKind
from kubefox import records
from kubefox.component import ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.environment import VirtualEnvironment
from kubefox.records import Change, Record
from kubefox.release import Release, ReleasedApp, ReleaseState
from kubefox.rollout import RolloutState, begin
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex, usage_of
from tests.control.releasing import API, API_V2, UI
from tests.support.control_plane import APP, deployment

A, B = (Review(ReviewKind.RELEASE, name) for name in ("team-a", "team-b"))
ROLLOUT = Review(ReviewKind.ROLLOUT, "main")


def usage(*written: tuple[str, Record]) -> UsageIndex:
    changes = (
        Change(key=key, revision=at, record=record) for at, (key, record) in enumerate(written, 1)
    )
    return usage_of(Snapshot.empty().apply(changes))


def pending(name: str, deployed: str) -> tuple[str, Record]:
    release = Release(
        id="r", apps={APP: ReleasedApp(deployment=deployed)}, manifest=None, requested_at_s=0
    )
    return records.release_key(name), ReleaseState(virtual_environment=name, pending=release)


def virtual(name: str) -> tuple[str, Record]:
    record = VirtualEnvironment(name=name, environment="dev")
    return records.virtual_environment_key(name), record


def deployed(name: str, *versions: ComponentVersion) -> tuple[str, Deployment]:
    return records.deployment_key(name), deployment(name, *versions)


def rolling() -> tuple[str, Record]:
    (_, before), (_, after) = deployed("main", UI, API), deployed("main", UI, API_V2)
    state = begin(RolloutState(deployment="main"), before, after, now_s=0, deadline_s=1)
    return records.rollout_key("main"), state


USAGE = usage(
    virtual("team-a"),
    virtual("team-b"),
    virtual("team-c"),
    deployed("v1", UI, API),
    deployed("main", UI, API),
    pending("team-a", "v1"),
    pending("team-b", "other"),
    rolling(),
)


def due(agenda: Agenda) -> set[Review]:
    found = set()
    while (review := agenda.take()) is not None:
        found.add(review)
    return found


def due_after(*keys: str) -> set[Review]:
    agenda = Agenda()
    agenda.note_data(keys, USAGE)
    return due(agenda)


def version_of(component: ComponentVersion) -> Version:
    return Version(component.app, component.name, component.hash)


def test_a_changed_record_makes_due_what_uses_it() -> None:
    assert due_after("release.team-a") == {A}
    assert due_after("virtual-environment.team-b") == {B}
    assert due_after("manifest.team-a.r1") == {A}
    assert due_after("environment.dev") == {A, B}
    assert due_after("deployment.v1") == {A}
    assert due_after("rollout.main") == {ROLLOUT}
    assert due_after(records.component_key(*version_of(UI))) == {A, ROLLOUT}


def test_a_record_that_nothing_pending_uses_makes_nothing_due() -> None:
    keys = ("release.team-c", "virtual-environment.team-c", "deployment.v2", "http-adapter.x")

    assert due_after(*keys) == set()
    assert due_after("environment.prod", "scale.shop.api") == set()
    assert due_after("component", "component.x", "component.a.b.c.d", "", "manifest") == set()


def test_a_pod_makes_due_what_waits_for_its_version() -> None:
    agenda = Agenda()

    agenda.note_pods([version_of(API)], USAGE)
    assert due(agenda) == {A}

    agenda.note_pods([version_of(API_V2)], USAGE)
    assert due(agenda) == {ROLLOUT}

    agenda.note_pods(None, USAGE)
    assert due(agenda) == {A, B, ROLLOUT}


def test_what_is_held_up_is_due_at_each_change_until_it_is_free() -> None:
    agenda = Agenda()
    agenda.note_reviewed(A, 10.0, is_held_up=True)

    agenda.note_data(["deployment.v2"], usage())
    assert A in due(agenda)

    agenda.note_reviewed(A, 10.0)
    agenda.note_data(["deployment.v2"], usage())
    assert A not in due(agenda)


def test_a_failed_review_stays_due() -> None:
    agenda = Agenda()

    agenda.put_back(A)

    assert due(agenda) == {A}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.none() | st.integers(1, 50)),
        min_size=1,
        max_size=300,
    ),
    st.integers(0, 60),
)
def test_a_review_is_due_at_its_last_deadline(
    steps: Iterable[tuple[str, int | None]], now_s: int
) -> None:
    agenda, deadlines = Agenda(), dict[Review, int]()
    for name, deadline_s in steps:
        review = Review(ReviewKind.RELEASE, name)
        agenda.note_reviewed(review, deadline_s)
        deadlines.pop(review, None)
        if deadline_s is not None:
            deadlines[review] = deadline_s
    first_s = agenda.next_s()

    agenda.note_time(now_s)

    assert due(agenda) == {review for review, at_s in deadlines.items() if at_s <= now_s}
    assert not deadlines or (first_s is not None and first_s <= min(deadlines.values()))
