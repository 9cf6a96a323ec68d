from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from model import records
from model.component import ComponentDefinition, Dependency, DependencyKind
from model.deployment import Deployment
from model.distill import Version
from model.environment import EnvironmentData
from model.records import Change, Record
from model.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from pods.plan import Actions, called, idle, plan, stop_order, wanted
from routing.snapshot import Snapshot

A = Version("order-app", "order-worker", "a" * 32)
B = Version("order-app", "api-server", "b" * 32)
B2 = Version("order-app", "api-server", "c" * 32)

versions = st.builds(Version, st.sampled_from("xy"), st.sampled_from("ab"), st.sampled_from("123"))
pods = st.dictionaries(st.text("pq0123", min_size=1, max_size=3), versions, max_size=12)


def carry_out(actions: Actions, running: dict[str, Version]) -> dict[str, Version]:
    left = {pod: version for pod, version in running.items() if pod not in actions.stop}
    started = {f"new-{index}": version for index, version in enumerate(actions.start)}
    return {**left, **started}


@given(st.frozensets(versions), pods)
def test_one_pass_gives_each_wanted_version_exactly_one_pod(
    desired: frozenset[Version], running: dict[str, Version]
) -> None:
    after = carry_out(plan(desired, running), running)

    assert Counter(after.values()) == Counter(desired)


@given(st.frozensets(versions), pods)
def test_a_second_pass_has_nothing_to_do(
    desired: frozenset[Version], running: dict[str, Version]
) -> None:
    after = carry_out(plan(desired, running), running)

    assert plan(desired, after) == Actions()


@given(st.frozensets(versions), pods)
def test_a_wanted_version_never_loses_its_last_pod(
    desired: frozenset[Version], running: dict[str, Version]
) -> None:
    stopped = set(plan(desired, running).stop)

    for version in desired & set(running.values()):
        assert any(running[pod] == version for pod in running.keys() - stopped)


@given(st.frozensets(versions), pods)
def test_the_order_in_which_pods_are_known_does_not_matter(
    desired: frozenset[Version], running: dict[str, Version]
) -> None:
    backwards = dict(reversed(running.items()))

    assert plan(desired, running) == plan(desired, backwards)


def test_a_deployment_of_known_hashes_starts_and_stops_nothing() -> None:
    running = {"one": A, "two": B}

    assert plan(frozenset({A, B}), running) == Actions()


def test_a_changed_component_starts_beside_the_version_that_others_still_use() -> None:
    running = {"one": A, "two": B}

    assert plan(frozenset({A, B, B2}), running) == Actions(start=(B2,))


def test_wanted_are_the_versions_of_all_deployments_each_once() -> None:
    snapshot = snapshot_of(deployment("v1", A, B), deployment("v2", A, B2))

    assert wanted(snapshot) == {A, B, B2}


def test_a_deployment_frozen_in_an_active_or_a_pending_release_keeps_its_pods() -> None:
    snapshot = snapshot_of(
        manifest("team-a", "r1", deployment("v1", A)),
        manifest("team-a", "r2", deployment("v2", B)),
        ReleaseState(virtual_environment="team-a", active=release("r1"), pending=release("r2")),
    )

    assert wanted(snapshot) == {A, B}


def test_a_deployment_that_only_an_archived_release_names_has_no_pods() -> None:
    snapshot = snapshot_of(
        manifest("team-a", "r1", deployment("v1", A)),
        ReleaseState(virtual_environment="team-a", history=(release("r1"),)),
    )

    assert wanted(snapshot) == frozenset()


def test_a_release_without_a_manifest_wants_what_is_live() -> None:
    live = Release(id="r1", apps={}, manifest=None, requested_at_s=0)
    snapshot = snapshot_of(
        deployment("v1", A), ReleaseState(virtual_environment="team-a", active=live)
    )

    assert wanted(snapshot) == {A}


def test_a_release_whose_manifest_is_not_there_wants_nothing() -> None:
    state = ReleaseState(virtual_environment="team-a", active=release("r1"))

    assert wanted(snapshot_of(state)) == frozenset()


def test_callers_stop_before_those_they_call() -> None:
    definitions = {A: calls("order-worker", "api-server")}

    assert stop_order({"worker": A, "api": B}, definitions) == (("worker",), ("api",))


def test_components_that_call_each_other_stop_together() -> None:
    definitions = {A: calls("order-worker", "api-server"), B: calls("api-server", "order-worker")}

    assert stop_order({"worker": A, "api": B}, definitions) == (("api", "worker"),)


def test_pods_without_a_known_definition_stop_at_once() -> None:
    assert stop_order({"worker": A, "api": B}, {}) == (("api", "worker"),)


def test_an_adapter_of_a_components_name_is_not_waited_for() -> None:
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
        case _:
            raise AssertionError(record)


def test_versions_that_were_ready_long_enough_and_are_unused_may_sleep() -> None:
    ready_at_s = {A: 10.0, B: 10.0, B2: 10.5}

    assert idle(ready_at_s, frozenset(), now_s=70.0, idle_s=60) == {A, B}
    assert idle(ready_at_s, frozenset({B.hash}), now_s=71.0, idle_s=60) == {A, B2}


def test_who_is_called_is_found_through_others_and_in_circles() -> None:
    names = ("ui", "api", "worker", "other")
    ui, api, worker, other = (Version("app", name, name * 2) for name in names)
    definitions = {
        ui: calls("ui", "api", "missing"),
        api: calls("api", "worker"),
        worker: calls("worker", "ui"),
        other: calls("other", "ui"),
    }

    assert called(ui, [ui, api, worker, other], definitions) == (api, worker)
    assert called(api, [api, other], definitions) == ()
