"""The demand for pods, found for the versions that changed, equals that found for all of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.distill import Version
from kubefox.pod import IdleVersion
from kubefox.records import Change, Record
from kubefox.scaling import Replicas, Scale, ScaleOverride
from pods.demand import Demand, Needs
from pods.idle_versions import IdleCounts, IdleVersions
from pods.plan import plan
from pods.replica_counts import ReplicaCounts
from routing.replicas import replicas_of_versions
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex
from tests.routing.snapshot.test_usage_index import VERSIONS, Written, finish, written
from tests.support import records as built

DEFAULT = Replicas(min=0, max=2)
BATCH = 3

scales = st.one_of(
    st.builds(Scale, min=st.integers(1, 3)), st.builds(Scale, max=st.integers(1, 2)), st.none()
)


@st.composite
def rescaled(draw: st.DrawFn) -> Written:
    """Return an override of a component, for one deployment or all, or its deletion."""
    app, component, _ = draw(st.sampled_from(VERSIONS))
    name, scale = draw(st.sampled_from(("", "v1", "v2"))), draw(scales)
    record: Record | None = None
    if scale is not None:
        record = ScaleOverride(app=app, component=component, deployment=name, scale=scale)
    return records.scale_key(app, component, name), record


@st.composite
def declared(draw: st.DrawFn) -> Written:
    version = draw(st.sampled_from(VERSIONS))
    definition = ComponentDefinition(name=version.component, scale=Scale(min=1, max=3))
    record = ComponentVersion(app=version.app, hash=version.hash, definition=definition)
    return records.component_key(*version), record


steps = st.one_of(
    written(),
    rescaled(),
    declared(),
    st.tuples(st.just("idle"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("awake"), st.sampled_from(VERSIONS)),
    st.tuples(st.just("load"), st.sampled_from(VERSIONS), st.integers(1, 4)),
)


class World:
    """A usage index that moves with changes, and the fleet's demand that follows it."""

    def __init__(self) -> None:
        self.usage = UsageIndex()
        self.idle = IdleVersions(IdleCounts(), event_ttl_s=0)
        self.counts = ReplicaCounts(DEFAULT)
        self.demand = Demand(self.counts, self.idle)
        self.pods: dict[str, Version] = {}
        self.started: list[Version] = []
        self.revision = 0

    def carry_out(self, step: tuple[Any, ...]) -> None:
        match step:
            case ("idle", Version() as version):
                if self.usage.is_wanted(version):
                    app, component, digest = version
                    mark = IdleVersion(app=app, component=component, hash=digest, since_s=0)
                    self.demand.note(self.idle.follow({version: mark}))
            case ("awake", Version() as version):
                self.demand.note(self.idle.follow({version: None}))
            case ("load", Version() as version, int() as count):
                self.demand.note(self.counts.ask_for({version: count}))
            case (str() as key, record):
                self.write(key, record)

    def write(self, key: str, record: Record | None) -> None:
        self.revision += 1
        change = Change(key=key, revision=self.revision, record=record)
        finish(self.usage, self.usage.snapshot.apply([change]), [key])

    def reconcile(self) -> None:
        """Give the noted versions their pods, in batches, as the fleet does."""
        self.demand.follow(self.usage)
        if self.demand.is_behind:
            for _ in self.demand.read_all(self.usage, set(self.pods.values())):
                pass
        while self.demand.has_more:
            self._carry_out(self.demand.take(self.usage, BATCH))

    def _carry_out(self, needs: Needs) -> None:
        mine = {pod: version for pod, version in self.pods.items() if version in needs.versions}
        actions = plan(needs.replicas, mine)
        for pod in (*actions.stop, *actions.surplus):
            del self.pods[pod]
        for version in actions.start:
            self.started.append(version)
            self.pods[f"pod-{len(self.started)}"] = version


@given(st.lists(steps, min_size=1, max_size=25))
def test_each_version_has_its_pods_after_each_change(given_steps: list[tuple[Any, ...]]) -> None:
    world = World()
    for step in given_steps:
        world.carry_out(step)

        world.reconcile()

        needed = {v for v in world.usage.wanted() if v not in world.idle.versions}
        limits = replicas_of_versions(needed, world.usage, DEFAULT)
        counts = Counter(world.pods.values())
        assert counts.keys() == needed
        for version, found in limits.items():
            assert max(found.min, 1) <= counts[version] <= found.max
        # A new look at all versions would change nothing.
        world.demand.note(VERSIONS)
        before = dict(world.pods)
        world.reconcile()
        assert world.pods == before


def test_a_change_looks_up_only_what_it_touches() -> None:
    world = World()
    for number in range(1_000):
        name = f"d{number}"
        world.write(*deployed(name, f"{number:032x}"))
    world.reconcile()
    before = world.demand.looked_up

    world.write(*deployed("one-more", "f" * 32))
    world.reconcile()

    assert world.demand.looked_up == before + 1


def test_released_versions_start_first() -> None:
    world = World()
    for number in range(10):
        world.write(*deployed(f"d{number}", f"{number:032x}"))
    world.write(*built.virtual_environment("team-a", {}))
    world.write(*built.active_release("team-a", {"shop": "d7"}, release_id="r1"))

    world.reconcile()

    assert len(world.started) == 10
    assert f"{7:032x}" in {version.hash for version in world.started[:BATCH]}


def test_after_a_gap_all_versions_are_looked_up() -> None:
    world = World()
    for name in ("one", "two"):
        world.write(*deployed(name, name[0] * 32))
    world.reconcile()
    world.pods.clear()

    world.usage.changed_versions.reset()
    world.reconcile()

    assert len(world.pods) == 2


def test_a_version_can_be_looked_up_before_those_that_were_noted_earlier() -> None:
    world = World()
    for number in range(10):
        world.write(*deployed(f"d{number}", f"{number:032x}"))
    world.demand.follow(world.usage)
    for _ in world.demand.read_all(world.usage, ()):
        pass
    urgent = Version("shop", "api", f"{9:032x}")

    needs = world.demand.look_up([urgent], world.usage)

    assert needs.replicas == {urgent: 1}
    while world.demand.has_more:
        assert urgent not in world.demand.take(world.usage, BATCH).versions


def test_an_empty_snapshot_needs_no_pods() -> None:
    world = World()
    world.pods = {"left": VERSIONS[0]}

    world.reconcile()

    assert world.usage.snapshot.revision == Snapshot.empty().revision
    assert world.pods == {}


def deployed(name: str, digest: str) -> tuple[str, Record]:
    return built.deployment(name, "shop", {"api": digest})
