"""Rollouts: a changed deployment switches when its new versions are ready, or stays as it was."""

from __future__ import annotations

import msgspec
import pytest

from broker.storage.store import Store
from control.rollout_changes import MAX_FAILED_STARTS
from control.rollouts import StoredDeployment
from kubefox.component import ComponentVersion
from kubefox.environment import Environment, EnvironmentData, PolicyType
from kubefox.errors import (
    DeploymentNotFound,
    GenerationNotFound,
    Immutable,
    InvalidRequest,
    NatsUnavailable,
    RevisionConflict,
)
from kubefox.pod import PodPhase, PodStatus
from kubefox.records import Record, deployment_key, rollout_key
from kubefox.rollout import DeploymentState, RolloutPhase
from tests.control.releasing import API, API_V2, UI, deploy_apps
from tests.support.control_plane import (
    Plane,
    component,
    deployment,
    from_commit,
    open_plane,
    pods_of,
)
from tests.support.nats import NatsServer
from tests.support.revisions import revisions

API_V3 = component("api-server", "v3")


async def roll_out(
    plane: Plane,
    *components: ComponentVersion,
    if_match: int | None = None,
    deadline_s: float | None = None,
) -> StoredDeployment:
    """Deploy components as ``main``."""
    for version in components:
        await plane.control.bundles.put(version.hash, b"code")
    wanted = deployment("main", *components)
    return await plane.control.deployments.deploy(wanted, components, if_match, deadline_s)


async def begin(plane: Plane, *, deadline_s: float | None = None) -> StoredDeployment:
    """Deploy ``main``, and begin its rollout to another API."""
    await roll_out(plane, UI, API)
    await plane.publish(*pods_of(UI, API))
    return await roll_out(plane, UI, API_V2, deadline_s=deadline_s)


async def wait_ended(plane: Plane, name: str = "main") -> StoredDeployment:
    """Return the deployment when its rollout is no longer rolling."""

    def has_ended() -> bool:
        stored = plane.control.rollouts.stored(plane.store.snapshot.deployments[name])
        return stored.state is not DeploymentState.ROLLING

    await plane.wait_data(has_ended)
    return await plane.control.deployments.get(name)


def served(plane: Plane) -> str:
    return plane.store.snapshot.deployments["main"].components["api-server"]


def dying(version: ComponentVersion, failed_starts: int) -> PodStatus:
    (status,) = pods_of(version, phase=PodPhase.BACK_OFF)
    return msgspec.structs.replace(
        status, failed_starts=failed_starts, message="exited with code 1: no such table"
    )


async def test_a_changed_deployment_keeps_its_content_while_new_pods_start(plane: Plane) -> None:
    rolling = await begin(plane)

    assert rolling.state is DeploymentState.ROLLING
    assert rolling.object.components["api-server"] == API.hash
    assert rolling.rollout is not None
    assert rolling.rollout.target.components["api-server"] == API_V2.hash
    assert rolling.rollout.target.generation == 2
    assert [problem.path for problem in rolling.rollout.problems] == ["components.api-server"]
    assert (await plane.control.deployments.get("main")) == rolling


async def test_a_deployment_switches_when_its_last_new_pod_is_ready(plane: Plane) -> None:
    async with plane.control.activator:
        await begin(plane)
        await plane.publish(*pods_of(API_V2, phase=PodPhase.STARTING))
        assert served(plane) == API.hash
        await plane.publish(*pods_of(API_V2))
        done = await wait_ended(plane)

    assert done.state is DeploymentState.READY
    assert (done.object.generation, done.rollout) == (2, None)
    assert done.object.components["api-server"] == API_V2.hash
    assert [
        earlier.generation for earlier in plane.control.deployments.history("main").earlier
    ] == [1]


async def test_a_switch_waits_for_all_replicas_but_not_for_one_that_dies(plane: Plane) -> None:
    (first,) = pods_of(API_V2)
    other = msgspec.structs.replace(first, id=f"{first.id}-other", phase=PodPhase.STARTING)
    await begin(plane)
    await plane.publish(first, other)

    await plane.control.rollouts.review("main")
    held = await plane.control.deployments.get("main")
    await plane.publish(msgspec.structs.replace(other, phase=PodPhase.BACK_OFF))
    await plane.control.rollouts.review("main")

    assert held.rollout is not None
    assert [problem.message for problem in held.rollout.problems] == [f"pod {other.id} is starting"]
    assert served(plane) == API_V2.hash


async def test_a_rollout_begun_by_a_process_that_ended_is_completed_by_another(
    plane: Plane, own_nats_server: NatsServer
) -> None:
    async with open_plane(own_nats_server.url, "ended") as ended:
        await begin(ended)

    async with plane.control.activator:
        await plane.publish(*pods_of(API_V2))
        done = await wait_ended(plane)

    assert done.object.generation == 2


async def test_a_rollout_whose_versions_are_ready_is_complete_at_once(plane: Plane) -> None:
    await plane.publish(*pods_of(UI, API, API_V2))
    await roll_out(plane, UI, API)

    done = await roll_out(plane, UI, API_V2)

    assert (done.state, done.object.generation) == (DeploymentState.READY, 2)


async def test_a_rollout_fails_at_its_deadline_and_the_old_content_stays(plane: Plane) -> None:
    async with plane.control.activator:
        await begin(plane, deadline_s=0.1)
        failed = await wait_ended(plane)

    assert failed.state is DeploymentState.FAILED
    assert failed.object.components["api-server"] == API.hash
    assert failed.rollout is not None
    assert failed.rollout.phase is RolloutPhase.FAILED
    assert [problem.type for problem in failed.rollout.problems] == ["PodNotReady"]


async def test_a_rollout_fails_when_a_pod_keeps_dying_before_it_is_ready(plane: Plane) -> None:
    async with plane.control.activator:
        await begin(plane)
        await plane.publish(dying(API_V2, MAX_FAILED_STARTS - 1))
        assert (await plane.control.deployments.get("main")).state is DeploymentState.ROLLING
        await plane.publish(dying(API_V2, MAX_FAILED_STARTS))
        failed = await wait_ended(plane)

    assert failed.rollout is not None
    (problem,) = failed.rollout.problems
    assert problem.type == "PodFailed"
    assert "died 3 times before it was ready: exited with code 1: no such table" in problem.message
    assert served(plane) == API.hash


async def test_a_newer_deploy_replaces_a_rollout(plane: Plane) -> None:
    await begin(plane)

    newer = await roll_out(plane, UI, API_V3)

    assert newer.rollout is not None
    assert newer.rollout.target.generation == 3
    assert newer.rollout.target.components["api-server"] == API_V3.hash


async def test_deploying_the_current_content_ends_a_rollout(plane: Plane) -> None:
    await begin(plane)

    again = await roll_out(plane, UI, API)

    assert (again.state, again.rollout) == (DeploymentState.READY, None)
    assert again.object.generation == 1


async def test_another_commit_with_equal_components_needs_no_rollout(plane: Plane) -> None:
    first = (await roll_out(plane, UI, API)).object

    again = await plane.control.deployments.deploy(from_commit(first, "c" * 40), ())

    assert again.object == from_commit(first, "c" * 40)
    assert plane.store.snapshot.rollouts == {}


async def test_a_rollout_is_a_change_for_if_match(plane: Plane) -> None:
    first = await roll_out(plane, UI, API)
    rolling = await roll_out(plane, UI, API_V2, if_match=first.revision)

    with pytest.raises(RevisionConflict):
        await roll_out(plane, UI, API_V3, if_match=first.revision)

    newer = await roll_out(plane, UI, API_V3, if_match=rolling.revision)
    assert newer.revision > rolling.revision > first.revision


async def test_an_aborted_rollout_leaves_the_deployment_as_it_is(plane: Plane) -> None:
    await begin(plane)

    aborted = await plane.control.deployments.abort("main")

    assert aborted.state is DeploymentState.READY
    assert aborted.rollout is not None
    assert aborted.rollout.phase is RolloutPhase.ABORTED
    with pytest.raises(GenerationNotFound, match="no rollout that is rolling"):
        await plane.control.deployments.abort("main")
    with pytest.raises(DeploymentNotFound):
        await plane.control.deployments.abort("nothing")


async def test_undo_restores_the_content_before(plane: Plane) -> None:
    await plane.publish(*pods_of(UI, API, API_V2, API_V3))
    for version in (API, API_V2, API_V3):
        await roll_out(plane, UI, version)

    undone = await plane.control.deployments.undo("main")
    assert served(plane) == API_V2.hash
    first = await plane.control.deployments.undo("main", 1)

    assert (undone.object.generation, first.object.generation) == (4, 5)
    assert served(plane) == API.hash
    history = plane.control.deployments.history("main")
    assert [earlier.generation for earlier in history.earlier] == [4, 3, 2, 1]
    with pytest.raises(InvalidRequest, match="the current one"):
        await plane.control.deployments.undo("main", 5)
    with pytest.raises(GenerationNotFound):
        await plane.control.deployments.undo("main", 9)


async def test_undo_of_a_rollout_ends_it_and_keeps_the_current_content(plane: Plane) -> None:
    await begin(plane)

    undone = await plane.control.deployments.undo("main")

    assert undone.state is DeploymentState.READY
    assert undone.rollout is not None
    assert undone.rollout.phase is RolloutPhase.ABORTED
    assert served(plane) == API.hash


async def test_a_deployment_that_has_got_a_version_cannot_be_undone(plane: Plane) -> None:
    await plane.publish(*pods_of(UI, API, API_V2))
    await roll_out(plane, UI, API)
    await plane.deploy("main", UI, API_V2, version="v1")

    with pytest.raises(Immutable, match="has version v1"):
        await plane.control.deployments.undo("main")


async def test_deploying_the_content_of_a_rollout_again_lets_it_go_on(plane: Plane) -> None:
    rolling = await begin(plane)

    again = await roll_out(plane, UI, API_V2)
    other_deadline = await roll_out(plane, UI, API_V2, deadline_s=7)

    assert again == rolling
    assert other_deadline.rollout is not None
    assert other_deadline.rollout.target.generation == 2
    assert other_deadline.rollout.deadline_s == 7


async def test_an_undo_waits_until_the_old_pods_run_again(plane: Plane) -> None:
    await plane.publish(*pods_of(UI, API, API_V2))
    await roll_out(plane, UI, API)
    await roll_out(plane, UI, API_V2)
    await plane.publish(*pods_of(API, phase=PodPhase.STARTING))

    undone = await plane.control.deployments.undo("main")

    assert undone.state is DeploymentState.ROLLING
    assert served(plane) == API_V2.hash


async def test_undeploying_removes_the_rollouts(plane: Plane) -> None:
    await begin(plane)

    await plane.control.deployments.undeploy("main")

    assert plane.store.snapshot.rollouts == {}
    assert list(plane.store.snapshot.rolling) == []
    assert (await roll_out(plane, UI, API)).object.generation == 1


async def test_an_unknown_deployment_has_no_history(plane: Plane) -> None:
    with pytest.raises(DeploymentNotFound):
        plane.control.deployments.history("nothing")
    with pytest.raises(DeploymentNotFound):
        await plane.control.deployments.undo("nothing")


@pytest.mark.parametrize("deadline_s", [0, -1, float("nan"), float("inf")])
async def test_a_deadline_that_is_not_valid_is_refused(plane: Plane, deadline_s: float) -> None:
    with pytest.raises(InvalidRequest, match="deadline"):
        await roll_out(plane, UI, API, deadline_s=deadline_s)


async def test_pruning_keeps_the_code_of_rollouts_and_of_earlier_generations(plane: Plane) -> None:
    await plane.publish(*pods_of(UI, API, API_V2))
    await roll_out(plane, UI, API)
    await roll_out(plane, UI, API_V2)
    await roll_out(plane, UI, API_V3)
    for version in (API, API_V2):
        (status,) = pods_of(version)
        await plane.control.board.remove(status.key)

    assert await plane.control.pruner._hashes_in_use() >= {API.hash, API_V2.hash, API_V3.hash}


async def test_a_crash_between_the_switch_and_its_completion_is_repaired(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(plane)
    await plane.publish(*pods_of(API_V2))
    put = Store.put

    async def crash(store: Store, key: str, record: Record | None, since: int) -> int:
        if key == rollout_key("main"):
            raise NatsUnavailable("the process died")
        return await put(store, key, record, since)

    monkeypatch.setattr(Store, "put", crash)
    with pytest.raises(NatsUnavailable):
        await plane.control.rollouts.review("main")
    monkeypatch.undo()

    between = await plane.control.deployments.get("main")
    assert (between.state, between.object.generation) == (DeploymentState.READY, 2)
    await plane.control.rollouts.review("main")

    state = plane.store.snapshot.rollouts["main"]
    assert (state.rollout, [earlier.generation for earlier in state.history]) == (None, [1])


async def test_a_switch_that_would_break_a_release_waits_for_its_deadline(plane: Plane) -> None:
    needy = component(
        "order-ui", "needy", routes=["Path(`/{{.Vars.other}}`)"], calls=["api-server"]
    )
    await deploy_apps(plane, policy=PolicyType.TESTING)
    await roll_out(plane, UI, API)
    await plane.control.environments.put(
        Environment(name="dev", data=EnvironmentData(vars={"other": "x"}))
    )
    rolling = await roll_out(plane, needy, API)
    assert rolling.state is DeploymentState.ROLLING
    await plane.control.releases.request_apps("team-a", {})
    await plane.environments("team-a", policy=PolicyType.TESTING)
    await plane.control.releases.request("team-a", "main")
    await plane.publish(*pods_of(needy))

    await plane.control.rollouts.review("main")

    held = await plane.control.deployments.get("main")
    assert held.state is DeploymentState.ROLLING
    assert held.rollout is not None
    assert "other" in held.rollout.problems[0].message


async def test_several_processes_switch_once(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        await begin(one)
        async with one.control.activator, two.control.activator:
            await one.publish(*pods_of(API_V2))
            for plane in (one, two):
                await wait_ended(plane)

        key = deployment_key("main")
        assert len((await revisions(one.bus, key))[key]) == 2


async def test_the_history_is_bounded(plane: Plane) -> None:
    versions = [component("api-server", f"x{number}") for number in range(13)]
    await plane.publish(*pods_of(UI, *versions))
    for version in versions:
        await roll_out(plane, UI, version)

    generations = plane.control.deployments.history("main")

    assert [earlier.generation for earlier in generations.earlier] == list(range(12, 2, -1))
