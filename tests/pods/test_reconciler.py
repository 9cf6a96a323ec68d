"""Pods run for exactly the component versions that are in use."""

from __future__ import annotations

import asyncio

import msgspec

from broker.usage import Usage
from model import subjects
from model.pod import PodPhase, PodStatus
from pods.fleet import Limits
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


async def test_a_deployment_of_known_versions_starts_only_what_differs(platform: Platform) -> None:
    api, api_2 = await platform.version(GOOD), await platform.version(GOOD_2)
    worker = await platform.version(GOOD, "order-worker")
    async with platform.reconciling():
        await platform.deploy("v1", api, worker)
        before = await platform.wait_ready(api, worker)

        await platform.deploy("v2", api_2, worker)
        after = await platform.wait_ready(api, api_2, worker)

    assert {status.id for status in before} < {status.id for status in after}


async def test_what_is_deployed_before_the_reconciler_comes_gets_its_pods(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)

    async with platform.reconciling():
        await platform.wait_ready(api)


async def test_an_undeployed_version_loses_its_pod_and_its_entry(platform: Platform) -> None:
    api, api_2 = await platform.version(GOOD), await platform.version(GOOD_2)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        await platform.deploy("v2", api_2)
        await platform.wait_ready(api, api_2)

        await platform.undeploy("v2")

        await platform.wait_ready(api)
    assert platform.gone == []


async def test_a_pod_stays_while_a_broker_has_requests_that_may_need_it(
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
    async with platform.reconciling(limits=Limits(event_ttl_s=60)):
        await platform.deploy("v1", api)
        (status,) = await platform.wait_ready(api)

        await platform.undeploy("v1")
        await asked.wait()
        asked.clear()
        await asked.wait()
        assert platform.board.statuses == (status,)

        in_flight.clear()
        await platform.wait_ready()


async def test_a_version_that_is_wanted_again_before_it_stopped_keeps_its_pod(
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
    async with platform.reconciling(limits=Limits(event_ttl_s=60)):
        await platform.deploy("v1", api)
        before = await platform.wait_ready(api)
        await platform.undeploy("v1")
        await rounds.acquire()

        await platform.deploy("v2", api)
        is_needed = False
        # Once for the batch that the pod has left, and once for a pod that leaves after it.
        other = await platform.version(GOOD_2)
        await platform.deploy("other", other)
        await platform.wait_ready(api, other)
        await platform.undeploy("other")

        assert await platform.wait_ready(api) == before


async def test_pods_that_are_never_unused_stop_when_no_request_can_live_any_more(
    platform: Platform,
) -> None:
    api = await platform.version(GOOD)

    async def answer(_payload: bytes, reply: str) -> None:
        usage = Usage(revision=10**6, hashes=frozenset({api.hash}))
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))

    await platform.bus.serve(subjects.USAGE, answer)
    async with platform.reconciling(limits=Limits(event_ttl_s=0.5)):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        await platform.undeploy("v1")

        await platform.wait_ready()


async def test_who_calls_stops_before_who_is_called(platform: Platform) -> None:
    tell_end = GOOD.replace("sys.exit(0)", "(open('../../ends', 'a').write(NAME), sys.exit(0))")
    api = await platform.version(f"NAME = 'api '\n{tell_end}", "api-server")
    ui = await platform.version(f"NAME = 'ui '\n{tell_end}", "order-ui", calls=("api-server",))
    async with platform.reconciling():
        await platform.deploy("v1", api, ui)
        await platform.wait_ready(api, ui)

        await platform.undeploy("v1")
        await platform.wait_ready()

    assert (platform.folder / "ends").read_text() == "ui api "


async def test_when_the_reconciler_ends_all_pods_are_gone(platform: Platform) -> None:
    api = await platform.version(GOOD, "api-server")
    worker = await platform.version(GOOD, "order-worker")
    async with platform.reconciling():
        await platform.deploy("v1", api, worker)
        statuses = await platform.wait_ready(api, worker)

    assert all(status.pid and is_gone(status.pid) for status in statuses)
    await platform.wait_ready()


async def test_what_an_earlier_reconciler_left_on_the_board_is_removed(platform: Platform) -> None:
    left = PodStatus(
        id="api-1", app="order-app", component="api", hash="f" * 32, phase=PodPhase.READY
    )
    await platform.board.publish(left)
    await platform.wait_pods(lambda statuses: len(statuses) == 1)

    async with platform.reconciling():
        await platform.wait_ready()


async def test_one_of_two_reconcilers_leads_and_the_other_takes_over(platform: Platform) -> None:
    api = await platform.version(GOOD)
    await platform.deploy("v1", api)
    async with platform.reconciling(holder="two", ttl_s=1) as second:
        (before,) = await platform.wait_ready(api)
        async with platform.reconciling(holder="one", ttl_s=1) as first:
            assert (first.is_leading, second.is_leading) == (False, True)

            await platform.bus.jetstream().publish("$KV.kubefox-leases.reconciler", b"one")

            await wait_until(lambda: first.is_leading and not second.is_leading)
            (after,) = await platform.wait_ready(api)
            assert after.id != before.id
            assert is_gone(before.pid or 0)


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
