from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, Dependency, DependencyKind
from kubefox.deployment import Deployment
from kubefox.distill import Version
from kubefox.environment import EnvironmentData
from kubefox.records import Change, Record
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from kubefox.rollout import RolloutState, abort, begin, complete
from kubefox.scaling import Replicas
from pods.plan import (
    Actions,
    idle_versions,
    plan,
    stop_order,
    transitive_callees,
)
from pods.replica_counts import ReplicaCounts
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import usage_of

A = Version("order-app", "order-worker", "a" * 32)
B = Version("order-app", "api-server", "b" * 32)
B2 = Version("order-app", "api-server", "c" * 32)

versions = st.builds(Version, st.sampled_from("xy"), st.sampled_from("ab"), st.sampled_from("123"))
pods = st.dictionaries(st.text("pq0123", min_size=1, max_size=3), versions, max_size=12)


replicas = st.dictionaries(versions, st.integers(1, 4))


def wanted(snapshot: Snapshot) -> set[Version]:
    return set(usage_of(snapshot).wanted())


def carry_out(actions: Actions, running: dict[str, Version]) -> dict[str, Version]:
    stopped = {*actions.stop, *actions.surplus}
    left = {pod: version for pod, version in running.items() if pod not in stopped}
    started = {f"new-{index}": version for index, version in enumerate(actions.start)}
    return {**left, **started}


@given(replicas, pods)
def test_one_pass_gives_each_wanted_version_its_number_of_pods(
    desired: dict[Version, int], running: dict[str, Version]
) -> None:
    after = carry_out(plan(desired, running), running)

    assert Counter(after.values()) == Counter(desired)


@given(replicas, pods)
def test_a_second_pass_has_nothing_to_do(
    desired: dict[Version, int], running: dict[str, Version]
) -> None:
    after = carry_out(plan(desired, running), running)

    assert plan(desired, after) == Actions()


@given(replicas, pods)
def test_a_wanted_version_never_loses_its_last_pod(
    desired: dict[Version, int], running: dict[str, Version]
) -> None:
    actions = plan(desired, running)
    stopped = {*actions.stop, *actions.surplus}

    for version in desired.keys() & set(running.values()):
        assert any(running[pod] == version for pod in running.keys() - stopped)


@given(replicas, pods)
def test_the_plan_does_not_depend_on_the_order_of_pods(
    desired: dict[Version, int], running: dict[str, Version]
) -> None:
    backwards = dict(reversed(running.items()))

    assert plan(desired, running) == plan(desired, backwards)


@given(replicas, pods, st.data())
def test_a_surplus_pod_is_ready_only_if_all_that_stay_are(
    desired: dict[Version, int], running: dict[str, Version], data: st.DataObject
) -> None:
    ready = data.draw(st.frozensets(st.sampled_from(sorted(running)))) if running else frozenset()

    surplus = plan(desired, running, ready).surplus

    for stopped in ready & set(surplus):
        staying = (pod for pod in running.keys() - surplus if running[pod] == running[stopped])
        assert all(pod in ready for pod in staying)


def test_a_deployment_of_known_hashes_starts_and_stops_nothing() -> None:
    running = {"one": A, "two": B}

    assert plan({A: 1, B: 1}, running) == Actions()


def test_a_changed_component_starts_beside_the_version_that_others_still_use() -> None:
    running = {"one": A, "two": B}

    assert plan({A: 1, B: 1, B2: 1}, running) == Actions(start=(B2,))


def test_the_versions_of_all_deployments_are_wanted_once() -> None:
    snapshot = snapshot_of(deployment("v1", A, B), deployment("v2", A, B2))

    assert wanted(snapshot) == {A, B, B2}


def test_versions_frozen_in_an_active_or_pending_release_are_wanted() -> None:
    snapshot = snapshot_of(
        manifest("team-a", "r1", deployment("v1", A)),
        manifest("team-a", "r2", deployment("v2", B)),
        ReleaseState(virtual_environment="team-a", active=release("r1"), pending=release("r2")),
    )

    assert wanted(snapshot) == {A, B}


def test_the_versions_of_a_rollout_are_wanted_beside_those_of_its_deployment() -> None:
    rolling = begin(
        RolloutState(deployment="main"),
        deployment("main", A, B),
        deployment("main", A, B2),
        now_s=0,
        deadline_s=1,
    )

    for state, expected in [
        (rolling, {A, B, B2}),
        (abort(rolling, now_s=1), {A, B}),
        (complete(rolling), {A, B}),
    ]:
        assert wanted(snapshot_of(deployment("main", A, B), state)) == expected


def test_a_version_that_is_rolling_out_takes_the_place_of_another_one() -> None:
    rolling = begin(
        RolloutState(deployment="main"),
        deployment("main", A, B),
        deployment("main", A, B2),
        now_s=0,
        deadline_s=1,
    )

    usage = usage_of(snapshot_of(deployment("main", A, B), rolling))
    switched = usage_of(snapshot_of(deployment("main", A, B2), complete(rolling)))

    assert (usage.replaced_by(B2), usage.replaced_by(A), switched.replaced_by(B2)) == (
        B,
        None,
        None,
    )


def test_a_version_that_is_rolling_out_has_the_pods_of_the_one_that_it_replaces() -> None:
    before, after = deployment("main", A, B), deployment("main", A, B2)
    rolling = begin(RolloutState(deployment="main"), before, after, now_s=0, deadline_s=1)
    counts = ReplicaCounts(Replicas(min=1, max=5))
    counts.update({A, B}, {A, B}, usage_of(snapshot_of(before)))
    counts.ask_for({B: 4})

    rolled = counts.update({A, B, B2}, {A, B, B2}, usage_of(snapshot_of(before, rolling)))
    done = usage_of(snapshot_of(after, complete(rolling)))
    switched = counts.update({A, B, B2}, {A, B2}, done)

    assert rolled == {A: 1, B: 4, B2: 4}
    assert switched == {A: 1, B2: 4}


def test_versions_of_an_archived_release_are_not_wanted() -> None:
    snapshot = snapshot_of(
        manifest("team-a", "r1", deployment("v1", A)),
        ReleaseState(virtual_environment="team-a", history=(release("r1"),)),
    )

    assert wanted(snapshot) == frozenset()


def test_a_release_without_a_manifest_wants_the_live_deployment() -> None:
    live = Release(id="r1", apps={}, manifest=None, requested_at_s=0)
    snapshot = snapshot_of(
        deployment("v1", A), ReleaseState(virtual_environment="team-a", active=live)
    )

    assert wanted(snapshot) == {A}


def test_a_release_whose_manifest_is_missing_wants_nothing() -> None:
    state = ReleaseState(virtual_environment="team-a", active=release("r1"))

    assert wanted(snapshot_of(state)) == frozenset()


def test_callers_stop_before_their_callees() -> None:
    definitions = {A: calls("order-worker", "api-server")}

    assert stop_order({"worker": A, "api": B}, definitions) == (("worker",), ("api",))


def test_components_that_call_each_other_stop_together() -> None:
    definitions = {A: calls("order-worker", "api-server"), B: calls("api-server", "order-worker")}

    assert stop_order({"worker": A, "api": B}, definitions) == (("api", "worker"),)


def test_pods_without_a_known_definition_stop_at_once() -> None:
    assert stop_order({"worker": A, "api": B}, {}) == (("api", "worker"),)


def test_an_adapter_with_the_name_of_a_component_does_not_change_the_stop_order() -> None:
    adapter = Dependency(name="api-server", kind=DependencyKind.ADAPTER)
    definitions = {A: ComponentDefinition(name="order-worker", dependencies=(adapter,))}

    assert stop_order({"worker": A, "api": B}, definitions) == (("api", "worker"),)


def test_a_component_that_calls_itself_does_not_wait_for_itself() -> None:
    definitions = {A: calls("order-worker", "order-worker", "api-server")}

    assert stop_order({"worker": A, "api": B}, definitions) == (("worker",), ("api",))


def calls(name: str, *callees: str) -> ComponentDefinition:
    dependencies = tuple(Dependency(name=callee) for callee in callees)
    return ComponentDefinition(name=name, dependencies=dependencies)


def deployment(name: str, *members: Version) -> Deployment:
    components = {component: digest for _, component, digest in members}
    return Deployment(name=name, app="order-app", components=components)


def manifest(virtual_environment: str, release_id: str, frozen: Deployment) -> ReleaseManifest:
    return ReleaseManifest(
        id=release_id,
        virtual_environment=virtual_environment,
        deployments={frozen.app: frozen},
        data=EnvironmentData(),
    )


def release(release_id: str) -> Release:
    apps = {"order-app": ReleasedApp(deployment="v1")}
    return Release(id=release_id, apps=apps, manifest=release_id, requested_at_s=0)


def snapshot_of(*held: Record) -> Snapshot:
    changes = [
        Change(key=key_of(record), revision=revision, record=record)
        for revision, record in enumerate(held, start=1)
    ]
    return Snapshot.empty().apply(changes)


def key_of(record: Record) -> str:
    match record:
        case Deployment():
            return records.deployment_key(record.name)
        case ReleaseManifest():
            return records.manifest_key(record.virtual_environment, record.id)
        case ReleaseState():
            return records.release_key(record.virtual_environment)
        case RolloutState():
            return records.rollout_key(record.deployment)
        case _:
            raise AssertionError(record)


def test_versions_that_are_ready_and_unused_for_the_idle_time_are_idle() -> None:
    ready_at_s = {A: 10.0, B: 10.0, B2: 10.5}

    assert idle_versions(ready_at_s, frozenset(), now_s=70.0, idle_s=60) == {A, B}
    assert idle_versions(ready_at_s, frozenset({B.hash}), now_s=71.0, idle_s=60) == {A, B2}


def test_transitive_callees_are_found_through_others_and_in_circles() -> None:
    names = ("ui", "api", "worker", "other")
    ui, api, worker, other = (Version("app", name, name * 2) for name in names)
    definitions = {
        ui: calls("ui", "api", "missing"),
        api: calls("api", "worker"),
        worker: calls("worker", "ui"),
        other: calls("other", "ui"),
    }

    def callees(caller: Version, *members: Version) -> tuple[Version, ...]:
        by_name = {(member.app, member.component): member for member in members}
        return transitive_callees(caller, lambda *name: by_name.get(name), definitions.get)

    assert callees(ui, ui, api, worker, other) == (api, worker)
    assert callees(api, api, other) == ()
