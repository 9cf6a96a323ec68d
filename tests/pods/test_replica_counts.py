"""The number of pods of each version, as limits and load change."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.distill import Version
from kubefox.records import Change
from kubefox.scaling import Replicas, Scale, ScaleOverride
from pods.replica_counts import ReplicaCounts
from routing.replicas import replicas_of_versions
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import usage_of

DEFAULT = Replicas()
VERSIONS = frozenset(
    Version("shop", component, digest * 32) for component in ("api", "web") for digest in "ab"
)
API, *_ = sorted(VERSIONS)


def declared(revision: int, version: Version) -> Change:
    definition = ComponentDefinition(name=version.component, scale=Scale(max=4))
    record = ComponentVersion(app=version.app, hash=version.hash, definition=definition)
    return Change(key=records.component_key(*version), revision=revision, record=record)


def overridden(revision: int, component: str, low: int | None) -> Change:
    scale = Scale(min=low)
    record = ScaleOverride(app="shop", component=component, scale=scale) if low else None
    return Change(key=records.scale_key("shop", component), revision=revision, record=record)


changes = st.one_of(
    st.builds(
        lambda version: lambda revision: declared(revision, version),
        st.sampled_from(sorted(VERSIONS)),
    ),
    st.builds(
        lambda component, low: lambda revision: overridden(revision, component, low),
        st.sampled_from(["api", "web"]),
        st.none() | st.integers(1, 5),
    ),
)


@given(st.lists(st.tuples(changes, st.frozensets(st.sampled_from(sorted(VERSIONS))))))
def test_limits_that_are_kept_are_those_that_a_new_look_gives(steps: list) -> None:  # type: ignore[type-arg]
    counts, snapshot = ReplicaCounts(DEFAULT), Snapshot.empty()
    for revision, (change_at, versions) in enumerate(steps, 1):
        snapshot = snapshot.apply([change_at(revision)])
        usage = usage_of(snapshot)

        found = counts.update(VERSIONS, versions, usage)

        limits = replicas_of_versions(versions, usage, DEFAULT)
        assert found == {version: limits[version].clamp(0) for version in versions}


async def test_only_a_version_with_room_follows_the_load() -> None:
    counts, snapshot = ReplicaCounts(DEFAULT), Snapshot.empty()
    counts.update(VERSIONS, VERSIONS, usage_of(snapshot))
    waiting = asyncio.create_task(counts.wait_scaled())
    await asyncio.sleep(0)
    assert not waiting.done()

    counts.update({API}, {API}, usage_of(snapshot.apply([declared(1, API)])))

    assert (await waiting).keys() == {API}


def test_a_version_gets_the_pods_that_were_asked_for_within_its_limits() -> None:
    counts, usage = ReplicaCounts(DEFAULT), usage_of(Snapshot.empty().apply([declared(1, API)]))
    assert counts.update(VERSIONS, VERSIONS, usage)[API] == 1

    assert counts.ask_for({API: 9}) == {API}
    assert counts.ask_for({API: 9}) == frozenset()

    assert counts.update({API}, {API}, usage) == {API: 4}
    assert counts.update({API}, set(), usage) == {}
    assert counts.update({API}, {API}, usage) == {API: 1}


def test_a_version_begins_with_the_pods_of_an_earlier_process_if_its_number_follows_the_load() -> (
    None
):
    counts, usage = ReplicaCounts(DEFAULT), usage_of(Snapshot.empty().apply([declared(1, API)]))
    counts.adopt(dict.fromkeys(VERSIONS, 3))

    found = counts.update(VERSIONS, VERSIONS, usage)

    assert found == {version: 3 if version == API else 1 for version in VERSIONS}
    assert [counts.pop_adopted(version) for version in sorted(VERSIONS)] == [3, 0, 0, 0]
    counts.ask_for({API: 2})
    assert counts.update({API}, {API}, usage) == {API: 2}


def test_a_version_that_is_not_needed_at_first_begins_with_no_pods_of_an_earlier_process() -> None:
    counts, usage = ReplicaCounts(DEFAULT), usage_of(Snapshot.empty().apply([declared(1, API)]))
    counts.adopt({API: 3})

    counts.update({API}, set(), usage)

    assert counts.update({API}, {API}, usage) == {API: 1}
