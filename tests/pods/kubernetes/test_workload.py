"""Which pod of the cluster belongs to which replica, and when a replica has ended."""

from __future__ import annotations

import asyncio
import itertools

import msgspec

from pods.base import PodReport, PodSpec
from pods.kubernetes.cluster_pod import (
    ClusterPod,
    Condition,
    ContainerStatus,
    PodConditions,
    PodPlace,
    State,
    Terminated,
    Waiting,
)
from pods.kubernetes.follow import Meta
from pods.kubernetes.manifests import CONTAINER
from pods.kubernetes.replica import Replica
from pods.kubernetes.workload import Workload

SPEC = PodSpec(id="api-1", app="shop", component="api", hash="a" * 32)
RUNNING = State()
CRASHED = State(terminated=Terminated(exit_code=1, message="starting\nno such table: orders\n"))
BACK_OFF = State(waiting=Waiting(reason="CrashLoopBackOff"))


def pod(
    uid: str,
    *,
    is_ready: bool = False,
    is_leaving: bool = False,
    state: State = RUNNING,
    last: State = RUNNING,
    restarts: int = 0,
    phase: str = "Running",
    is_lost: bool = False,
) -> ClusterPod:
    return ClusterPod(
        metadata=Meta(
            name=f"api-{uid}",
            uid=uid,
            deletion_timestamp="2026-01-01T00:00:00Z" if is_leaving else None,
        ),
        spec=PodPlace(node_name="n-1"),
        status=PodConditions(
            phase=phase,
            conditions=[
                Condition(type="Ready", status=str(is_ready)),
                Condition(type="ContainersReady", status=str(is_ready or is_lost)),
            ],
            container_statuses=[
                ContainerStatus(CONTAINER, restart_count=restarts, state=state, last_state=last)
            ],
        ),
    )


def replica(grace_s: float = 30, id: str = "api-1") -> Replica:  # noqa: A002
    return Replica(msgspec.structs.replace(SPEC, id=id), grace_s, lambda _pod: None)


async def workload(*pods: ClusterPod) -> Workload:
    made = Workload("api", lambda _workload: None)
    for each in pods:
        made.on_pod(each)
    return made


async def test_a_replica_gets_a_pod_that_is_there_and_ready_ones_first() -> None:
    found = await workload(pod("one"), pod("two", is_ready=True))
    first = replica()

    found.add(first)

    assert first.name == "api-two"
    assert await first.wait_ready()


async def test_a_successor_may_have_events_before_it_has_a_replica() -> None:
    found = await workload(pod("old", is_ready=True), pod("new", is_ready=True))
    found.add(replica())

    found.on_pod(pod("evicted", phase="Failed"))

    assert found.pods == {"api-old", "api-new"}
    found.on_deleted(pod("old"))
    assert found.pods == {"api-new"}


async def test_a_pod_serves_one_replica_only() -> None:
    found = await workload(pod("one"))
    first, second = replica(), replica()
    found.add(first)
    found.add(second)

    assert (first.name, second.name) == ("api-one", "")
    found.on_pod(pod("two"))

    assert (first.name, second.name) == ("api-one", "api-two")


async def test_a_pod_that_is_deleted_before_it_was_ready_is_replaced_by_the_next_one() -> None:
    found = await workload(pod("one"))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", is_leaving=True))
    found.on_deleted(pod("one", is_leaving=True))
    found.on_pod(pod("two", is_ready=True))

    assert await first.wait_ready()
    assert first.name == "api-two"


async def test_a_pod_that_is_killed_before_it_was_ready_ends_its_replica() -> None:
    found = await workload(pod("one"))
    first, second = replica(), replica()
    found.add(first)
    first.kill()

    found.on_pod(pod("one", is_leaving=True))
    found.on_pod(pod("two", is_ready=True))
    was_gone = first.is_gone
    found.on_deleted(pod("one", is_leaving=True))
    await first.wait_gone()
    found.vacate(first)
    found.add(second)

    assert (was_gone, first.name) == (False, "api-one")
    assert await second.wait_ready()
    assert second.name == "api-two"
    found.end_vacancies()


async def test_a_replica_that_is_killed_without_a_pod_has_ended_and_gets_none() -> None:
    found = await workload()
    first, second = replica(), replica()
    found.add(first)
    found.add(second)

    first.kill()
    await first.wait_gone()
    found.on_pod(pod("one"))

    assert not await first.wait_ready()
    assert (first.name, second.name) == ("", "api-one")


async def test_a_ready_pod_that_is_deleted_serves_until_it_is_gone() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", is_leaving=True))
    was_gone = first.is_gone
    found.on_deleted(pod("one", is_leaving=True, state=State(terminated=Terminated())))

    assert (was_gone, first.is_gone) == (False, True)
    assert first.end.is_clean


async def test_a_container_that_has_ended_ends_the_replica_with_its_last_line() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", state=CRASHED))

    assert first.is_gone
    assert first.end.message == "exited with code 1: no such table: orders"


async def test_an_end_before_the_replica_is_not_its_own() -> None:
    found = await workload(pod("one", state=BACK_OFF, last=CRASHED))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", restarts=1, last=CRASHED))
    was_gone = first.is_gone
    found.on_pod(pod("one", restarts=1, state=BACK_OFF, last=CRASHED))

    assert (was_gone, first.is_gone) == (False, True)


async def test_an_end_that_was_missed_between_two_changes_is_noticed() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", is_ready=True, restarts=1, last=CRASHED))

    assert first.is_gone


async def test_a_pod_that_is_killed_after_its_grace_time_has_not_stopped_in_time() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica(grace_s=0.5)
    found.add(first)
    first.stop()
    found.begin_leaving(first)

    killed = State(terminated=Terminated(exit_code=137))
    found.on_deleted(pod("one", is_leaving=True, state=killed))

    assert first.end.message == "did not stop within 0.5 s"
    assert not first.end.is_clean


async def test_the_place_of_a_replica_whose_pod_has_ended_is_kept_for_the_next_one() -> None:
    found = await workload(pod("one", is_ready=True))
    first, second = replica(), replica()
    found.add(first)
    found.on_pod(pod("one", state=CRASHED))

    found.vacate(first)
    assert found.wanted == 1
    found.add(second)

    assert found.wanted == 1
    assert second.name == "api-one"
    found.end_vacancies()


async def test_the_places_of_pods_of_an_earlier_process_are_kept_for_a_while() -> None:
    over = asyncio.Event()
    found = Workload("api", lambda _workload: over.set(), vacant_s=0)
    found.add(replica())
    found.add(replica())

    found.take_over(4)
    wanted = found.wanted
    found.add(replica())
    kept = found.wanted
    await over.wait()

    assert (wanted, kept, found.wanted) == (4, 4, 3)


async def test_fewer_pods_of_an_earlier_process_than_are_wanted_change_nothing() -> None:
    found = await workload()
    found.add(replica())
    found.add(replica())

    found.take_over(1)

    assert found.wanted == 2


async def test_a_vacancy_that_nobody_takes_ends() -> None:
    over = asyncio.Event()
    found = Workload("api", lambda _workload: over.set(), vacant_s=0)
    first = replica()
    found.add(first)

    found.vacate(first)
    await over.wait()

    assert found.wanted == 0
    assert found.is_unused


def test_a_pod_of_the_api_is_read_with_what_is_needed() -> None:
    text = b"""{"kind": "Pod", "metadata": {"name": "api-1", "uid": "u", "resourceVersion": "7",
      "deletionTimestamp": "2026-01-01T00:00:00Z", "ownerReferences": []},
      "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
      "containerStatuses": [{"name": "component", "restartCount": 2, "state": {"running": {}},
      "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}}"""

    found = msgspec.json.decode(text, type=ClusterPod)

    assert found.is_ready
    assert found.is_leaving
    assert found.ends == 2
    assert found.last_end == Terminated(exit_code=1, reason="Error")


async def test_a_pod_that_another_process_takes_over_has_lost_no_event() -> None:
    found = await workload(pod("one", is_ready=True))
    wanted = replica()
    found.add(wanted)

    wanted.leave_running()

    assert wanted.end.is_clean


async def test_a_pod_that_has_ended_for_good_is_not_waited_for() -> None:
    found = await workload(pod("evicted", phase="Failed"), pod("one"))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", phase="Failed"))
    found.on_pod(pod("two", is_ready=True))

    assert await first.wait_ready()
    assert first.name == "api-two"


async def test_a_ready_pod_that_is_evicted_ends_its_replica() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica()
    found.add(first)

    found.on_pod(pod("one", phase="Failed"))

    assert first.is_gone
    assert first.end.message == "has ended for good"


async def test_a_pod_on_a_lost_node_gives_its_place_up_when_it_is_deleted() -> None:
    found = await workload(pod("one", is_ready=True))
    first, second = replica(), replica()
    found.add(first)

    found.on_pod(pod("one", is_lost=True))
    while_lost = first.is_gone
    found.on_pod(pod("one", is_lost=True, is_leaving=True))
    found.vacate(first)
    found.on_pod(pod("two", is_ready=True))
    found.add(second)

    assert not while_lost
    assert first.end.message == "is on node n-1, which does not answer"
    assert second.name == "api-two"


async def test_what_is_known_of_a_pod_is_told_whenever_it_changes() -> None:
    found = await workload()
    first = replica()
    told: list[PodReport] = []
    first.listen(told.append)
    found.add(first)

    found.on_creation_fault("cannot be created: no quota")
    found.on_creation_fault("cannot be created: no quota")
    found.on_pod(pod("one"))
    found.on_creation_fault("")
    found.on_pod(pod("one", is_ready=True))

    reports = [report for report, _ in itertools.groupby(told)]
    assert reports == [
        PodReport(),
        PodReport(fault="cannot be created: no quota"),
        PodReport(name="api-one", node="n-1"),
    ]


async def test_a_lost_pod_is_told_as_such_until_its_node_is_back() -> None:
    found = await workload(pod("one", is_ready=True))
    first = replica()
    told: list[PodReport] = []
    found.add(first)
    first.listen(told.append)

    found.on_pod(pod("one", is_lost=True))
    found.on_pod(pod("one", is_ready=True))

    assert [report.is_lost for report in told] == [False, True, False]
    assert told[1].fault == "is on node n-1, which does not answer"


async def test_a_restarted_pod_keeps_its_id() -> None:
    found = await workload()
    first, second = replica(id="api-1"), replica(id="api-2")
    found.add(first)
    found.add(second)
    pods = {name: pod(name) for name in ("one", "two")}
    for each in pods.values():
        found.on_pod(each)
    for name, crashed in (("one", first), ("two", second)):
        found.on_pod(pod(name, state=CRASHED))
        found.vacate(crashed)

    # They are started again in another order.
    again = [replica(id="api-2"), replica(id="api-1")]
    for one in again:
        found.add(one)

    assert [one.name for one in again] == ["api-two", "api-one"]
    assert found.id_of(pods["one"]) == "api-1"
    assert found.id_of(pod("unknown")) == "api-unknown"
    found.end_vacancies()
