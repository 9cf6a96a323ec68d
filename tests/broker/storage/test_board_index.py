"""The index of the pod board, changed entry by entry, equals a walk over all entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.storage.board_index import BoardIndex
from kubefox.distill import Version
from kubefox.pod import IdleVersion, PodPhase, PodStatus

VERSIONS = tuple(Version("shop", "api", digest * 32) for digest in "ab")

entries = st.builds(
    lambda version, name, phase: PodStatus(
        id=name, app=version.app, component=version.component, hash=version.hash, phase=phase
    ),
    st.sampled_from(VERSIONS),
    st.sampled_from(["one", "two"]),
    st.sampled_from(PodPhase),
) | st.builds(
    lambda version: IdleVersion(
        app=version.app, component=version.component, hash=version.hash, since_s=0
    ),
    st.sampled_from(VERSIONS),
)


@given(st.lists(st.tuples(entries, st.booleans()), max_size=20))
def test_the_index_equals_a_walk_over_all_entries(
    steps: list[tuple[PodStatus | IdleVersion, bool]],
) -> None:
    index, stored = BoardIndex(), dict[str, PodStatus | IdleVersion]()
    for entry, is_put in steps:
        position = index.changed_versions.position
        if is_put:
            stored[entry.key] = entry
            index.put(entry)
        elif entry.key in stored:
            index.remove(stored.pop(entry.key))

        pods = [found for found in stored.values() if isinstance(found, PodStatus)]
        idle = {found.version for found in stored.values() if isinstance(found, IdleVersion)}
        ready = {pod.version for pod in pods if pod.phase is PodPhase.READY}
        assert index.accepting == ready | idle
        assert index.idle_marks.keys() == idle
        for version in VERSIONS:
            assert set(index.pods_of(version)) == {pod for pod in pods if pod.version == version}
        assert entry.version in (index.changed_versions.since(position) or {entry.version})
