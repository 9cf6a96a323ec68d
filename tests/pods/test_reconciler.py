"""Pods run for exactly the component versions that are in use."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from broker.dispatch.usage import Usage
from broker.nats.bus import Bus
from broker.storage.pod_board import PodBoard
from kubefox import subjects
from kubefox.pod import PodPhase, PodStatus, RunnerStatus
from pods import supervisor
from pods.limits import PodLimits
from routing.snapshot.usage_index import UsageIndex
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import is_gone, wait_until
from tests.support.nats import NatsServer

GOOD = programs.GOOD
GOOD_2 = f"{GOOD}# the second version\n"


async def test_each_version_of_a_deployment_gets_a_pod(platform: Platform) -> None:
    api = await platform.version(GOOD, "api-server")
    worker = await platform.version(GOOD, "order-worker")

    async with platform.reconciling():
        await platform.deploy("v1", api, worker)
        statuses = await platform.wait_ready(api, worker)

    assert [status.component for status in statuses] == ["api-server", "order-worker"]
    assert all(status.pid and status.started_at_s for status in statuses)


async def test_a_deployment_starts_only_versions_that_do_not_run_yet(platform: Platform) -> None:
    api, api_2 = await platform.version(GOOD), await platform.version(GOOD_2)
    worker = await platform.version(GOOD, "order-worker")
    async with platform.reconciling():
        await platform.deploy("v1", api, worker)
        before = await platform.wait_ready(api, worker)

        await platform.deploy("v2", api_2, worker)
        after = await platform.wait_ready(api, api_2, worker)

    assert {status.id for status in before} < {status.id for status in after}


async def test_a_new_reconciler_starts_pods_of_existing_deployments(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)

    async with platform.reconciling():
        await platform.wait_ready(api)


async def test_released_versions_start_before_the_usage_index_is_made(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, other = await platform.version(GOOD, "a"), await platform.version(GOOD, "b")
    await platform.deploy("v1", released)
    await platform.deploy("v2", other)
    await platform.release("v1")
    made, usage = asyncio.Event(), platform.store.usage

    async def late_usage() -> UsageIndex:
        await made.wait()
        return await usage()

    monkeypatch.setattr(platform.store, "usage", late_usage)
    async with platform.reconciling():
        early = await platform.wait_ready(released)
        made.set()
        late = await platform.wait_ready(released, other)

    assert early[0].id in {status.id for status in late}


async def test_undeploying_a_version_stops_its_pod(platform: Platform) -> None:
    api, api_2 = await platform.version(GOOD), await platform.version(GOOD_2)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        await platform.deploy("v2", api_2)
        await platform.wait_ready(api, api_2)

        await platform.undeploy("v2")

        await platform.wait_ready(api)
    assert platform.gone == []


async def test_a_pod_is_not_stopped_while_a_request_in_flight_may_need_it(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)
    asked = asyncio.Event()
    in_flight = {api.hash}

    async def answer(_payload: bytes, reply: str) -> None:
        usage = Usage(revision=platform.store.snapshot.revision, hashes=frozenset(in_flight))
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))
        asked.set()

    await platform.bus.serve(subjects.USAGE, answer)
    async with platform.reconciling(limits=PodLimits(event_ttl_s=60)):
        await platform.deploy("v1", api)
        (status,) = await platform.wait_ready(api)

        await platform.undeploy("v1")
        await asked.wait()
        asked.clear()
        await asked.wait()
        assert platform.board.statuses == (status,)

        in_flight.clear()
        await platform.wait_ready()


async def test_a_version_that_is_deployed_again_before_it_stopped_keeps_its_pod(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)
    rounds = asyncio.Semaphore(0)
    is_needed = True

    async def answer(_payload: bytes, reply: str) -> None:
        hashes = frozenset({api.hash}) if is_needed else frozenset()
        usage = Usage(revision=platform.store.snapshot.revision, hashes=hashes)
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))
        rounds.release()

    await platform.bus.serve(subjects.USAGE, answer)
    async with platform.reconciling(limits=PodLimits(event_ttl_s=60)):
        await platform.deploy("v1", api)
        before = await platform.wait_ready(api)
        await platform.undeploy("v1")
        await rounds.acquire()

        await platform.deploy("v2", api)
        is_needed = False
        # Brokers are queried for the batch that the pod has left, and for a pod that stops later.
        other = await platform.version(GOOD_2)
        await platform.deploy("other", other)
        await platform.wait_ready(api, other)
        await platform.undeploy("other")

        assert await platform.wait_ready(api) == before


async def test_pods_are_stopped_after_the_event_ttl_even_if_a_broker_reports_them_in_use(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)

    async def answer(_payload: bytes, reply: str) -> None:
        usage = Usage(revision=10**6, hashes=frozenset({api.hash}))
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))

    await platform.bus.serve(subjects.USAGE, answer)
    async with platform.reconciling(limits=PodLimits(event_ttl_s=0.5)):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        await platform.undeploy("v1")

        await platform.wait_ready()


async def test_callers_stop_before_their_callees(platform: Platform) -> None:
    tell_end = GOOD.replace("sys.exit(0)", "(open('../../ends', 'a').write(NAME), sys.exit(0))")
    api = await platform.version(f"NAME = 'api '\n{tell_end}", "api-server")
    ui = await platform.version(f"NAME = 'ui '\n{tell_end}", "order-ui", calls=("api-server",))
    async with platform.reconciling():
        await platform.deploy("v1", api, ui)
        await platform.wait_ready(api, ui)

        await platform.undeploy("v1")
        await platform.wait_ready()

    assert (platform.folder / "ends").read_text() == "ui api "


async def test_all_pods_have_ended_when_the_reconciler_ends(platform: Platform) -> None:
    api = await platform.version(GOOD, "api-server")
    worker = await platform.version(GOOD, "order-worker")
    async with platform.reconciling():
        await platform.deploy("v1", api, worker)
        statuses = await platform.wait_ready(api, worker)

    assert all(status.pid and is_gone(status.pid) for status in statuses)
    await platform.wait_ready()


async def test_the_entries_of_all_pods_are_removed_although_nats_does_not_answer_at_first(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, keys = PodBoard.remove, []

    async def remove_at_third_try(board: PodBoard, key: str) -> None:
        keys.append(key)
        if len(keys) < 3:
            raise TimeoutError
        await remove(board, key)

    api = await platform.version(GOOD)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        await platform.wait_ready(api)
        monkeypatch.setattr(PodBoard, "remove", remove_at_third_try)

    await platform.wait_pods(lambda left: not left and not platform.board.runners)


async def test_board_entries_of_an_earlier_reconciler_are_removed(platform: Platform) -> None:
    left = PodStatus(
        id="api-1", app="order-app", component="api", hash="f" * 32, phase=PodPhase.READY
    )
    await platform.board.publish(left)
    await platform.wait_pods(lambda statuses: len(statuses) == 1)

    async with platform.reconciling():
        await platform.wait_ready()


async def test_versions_used_before_a_restart_start_first_after_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SLOT_S", 3600)
    write_start = "open('../../starts', 'a').write(NAME)\n"
    early = await platform.version(f"NAME = 'early '\n{write_start}{GOOD}", "a")
    late = await platform.version(f"NAME = 'late '\n{write_start}{GOOD}", "b")

    async def find_used(_bus: Bus, _within_s: float) -> frozenset[str]:
        return frozenset({late.hash})

    async def find_nothing(_bus: Bus, _within_s: float) -> None:
        return None

    limits = PodLimits(remember_use_s=0.01)
    async with platform.reconciling(limits=limits, find_used=find_used):
        await platform.wait_pods(lambda _: platform.board.recently_used == {late.hash})
    await platform.deploy("v1", early, late)
    one_at_once = PodLimits(starts_at_once=1)
    async with platform.reconciling(limits=one_at_once, find_used=find_nothing):
        await platform.wait_ready(early, late)

    assert (platform.folder / "starts").read_text() == "late early "


async def test_each_of_two_runners_has_a_pod_of_every_version(platform: Platform) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)

    async with platform.reconciling(holder="one"), platform.reconciling(holder="two"):
        statuses = await platform.wait_ready(api, api)
        runners = platform.board.runners

    assert {status.runner for status in statuses} == {"one", "two"}
    assert [runner.name for runner in runners] == ["one", "two"]
    await platform.wait_pods(lambda left: not left and not platform.board.runners)


async def test_a_runner_that_ends_leaves_the_pods_of_the_other_alone(platform: Platform) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)
    async with platform.reconciling(holder="two"):
        before = await platform.wait_ready(api)
        async with platform.reconciling(holder="one"):
            await platform.wait_ready(api, api)

        after = await platform.wait_ready(api)

    assert after == before
    assert platform.gone == []


async def test_a_runner_that_was_taken_for_dead_shows_itself_and_its_pods_again(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)
    async with platform.reconciling(holder="one"):
        (status,) = await platform.wait_ready(api)
        (runner,) = platform.board.runners

        await platform.board.remove(status.key)
        await platform.board.remove(runner.key)
        await platform.wait_pods(lambda _: not platform.board.runners)

        assert await platform.wait_ready(api) == [status]
        await platform.board.wait_runner(runner)


async def test_a_change_of_the_leader_changes_no_pod(platform: Platform) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)
    async with platform.reconciling(holder="two") as second:
        await wait_until(lambda: second.is_leading)
        async with platform.reconciling(holder="one") as first:
            before = await platform.wait_ready(api, api)
            assert (first.is_leading, second.is_leading) == (False, True)

            await platform.bus.jetstream().publish("$KV.kubefox-leases.reconciler", b"one")

            await wait_until(lambda: first.is_leading and not second.is_leading)
            assert await platform.wait_ready(api, api) == before


async def test_the_entries_of_a_runner_that_died_are_removed_and_its_pods_announced(
    platform: Platform,
) -> None:
    dead = RunnerStatus(name="dead")
    api = await platform.version(GOOD)
    pod = PodStatus(
        id="api-1",
        app="order-app",
        component="api-server",
        hash=api.hash,
        phase=PodPhase.READY,
        runner="dead",
    )
    await platform.deploy("v1", api)
    async with platform.reconciling(holder="one"):
        (own,) = await platform.wait_ready(api)

        await platform.board.publish(pod)
        await platform.board.publish(dead)

        await platform.wait_pods(lambda _: api.subject in platform.gone)
        assert await platform.wait_ready(api) == [own]
        await platform.wait_pods(
            lambda _: [runner.name for runner in platform.board.runners] == ["one"]
        )


async def test_a_restart_of_nats_changes_nothing_for_pods(
    platform: Platform, own_nats_server: NatsServer
) -> None:
    api, api_2 = await platform.version(GOOD), await platform.version(GOOD_2)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        before = await platform.wait_ready(api)

        back = asyncio.Event()

        async def reconnected() -> None:
            back.set()

        platform.bus.on_reconnect(reconnected)
        await asyncio.to_thread(own_nats_server.restart)
        await back.wait()
        await platform.deploy("v2", api_2)

        after = await platform.wait_ready(api, api_2)
        assert before[0].id in {status.id for status in after}
        assert before[0].pid in {status.pid for status in after}
