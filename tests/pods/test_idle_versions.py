"""Idle versions are stopped, and activated without a failed request when an event needs them."""

from __future__ import annotations

import asyncio
import os
import signal

import msgspec

from broker.dispatch.usage import Usage
from broker.events.outbox import Outbox, ensure_outbox
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from kubefox import subjects
from kubefox.pod import PodPhase
from kubefox.senders import PLATFORM
from pods.base import PodSpec
from pods.limits import PodLimits
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import wait_until

GOOD_2 = f"{programs.GOOD}# the second version\n"
LIMITS = PodLimits(event_ttl_s=20, idle_s=0.2, min_check_s=0.05)
NEVER_IDLE = PodLimits(event_ttl_s=20, idle_s=3600, min_check_s=0.05)
REPLY_S = 15


async def answer_usage(platform: Platform, hashes: set[str]) -> asyncio.Semaphore:
    """Answer usage queries as a broker that uses ``hashes``; the semaphore counts the queries."""
    asked = asyncio.Semaphore(0)

    async def answer(_payload: bytes, reply: str) -> None:
        usage = Usage(revision=platform.store.snapshot.revision, hashes=frozenset(hashes))
        await platform.bus.publish(reply, msgspec.msgpack.encode(usage))
        asked.release()

    await platform.bus.serve(subjects.USAGE, answer)
    return asked


async def request_activation(platform: Platform, spec: PodSpec, *members: PodSpec) -> Wake:
    hashes = frozenset(spec.hash for spec in members)
    question = msgspec.msgpack.encode(WakeRequest(target=spec.subject, hashes=hashes))
    state = Wake.WAKING
    while state is Wake.WAKING:
        answer = await platform.bus.request(subjects.wake(PLATFORM), question, REPLY_S)
        state = msgspec.msgpack.decode(answer, type=WakeReply).state
    return state


async def test_a_version_is_stopped_when_it_is_no_longer_used(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    used = {api.hash}
    asked = await answer_usage(platform, used)
    async with platform.reconciling(limits=LIMITS) as reconciler:
        await platform.deploy("v1", api)
        before = await platform.wait_ready(api)
        for _ in range(3):
            await asked.acquire()
        assert await platform.wait_ready(api) == before

        used.clear()

        await platform.wait_idle(api)
        assert (reconciler.counts.stops, reconciler.counts.activations) == (1, 0)
    assert platform.gone == []


async def test_usage_is_not_queried_when_idle_versions_are_not_stopped(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    asked = await answer_usage(platform, set())
    async with platform.reconciling(limits=PodLimits()):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        assert await request_activation(platform, api) is Wake.AWAKE
    assert asked.locked()


async def test_requests_to_activate_an_idle_version_are_answered_when_it_is_ready(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS) as reconciler:
        await platform.deploy("v1", api)
        await platform.wait_idle(api)

        states = await asyncio.gather(*(request_activation(platform, api) for _ in range(50)))

        assert set(states) == {Wake.AWAKE}
        assert reconciler.counts.activations == 1


async def test_running_and_unknown_versions_are_not_activated(platform: Platform) -> None:
    api, unknown = await platform.version(programs.GOOD), await platform.version(programs.BROKEN)
    starting = await platform.version(programs.NEVER_READY, "order-worker")
    async with platform.reconciling(limits=NEVER_IDLE) as reconciler:
        await platform.deploy("v1", api, starting)
        await platform.wait_pods(
            lambda statuses: (
                {status.phase for status in statuses if status.pid}
                == {PodPhase.READY, PodPhase.STARTING}
            )
        )

        assert await request_activation(platform, api) is Wake.AWAKE
        assert await request_activation(platform, starting) is Wake.RESTARTING
        assert await request_activation(platform, unknown) is Wake.NOT_IDLE
        assert reconciler.counts.activations == 0


async def test_a_request_waits_for_the_restart_of_a_killed_pod(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    async with platform.reconciling(limits=NEVER_IDLE) as reconciler:
        await platform.deploy("v1", api)
        (status,) = await platform.wait_ready(api)

        os.kill(status.pid or 0, signal.SIGKILL)
        # Its first back-off is so short that the board may never show it.
        await platform.wait_pods(lambda statuses: statuses[0].pid != status.pid)

        assert await request_activation(platform, api) is Wake.AWAKE
        (restarted,) = await platform.wait_ready(api)
        assert restarted.pid != status.pid
        assert reconciler.counts.activations == 0


async def test_no_request_waits_for_a_version_that_was_never_ready(platform: Platform) -> None:
    broken = await platform.version(programs.BROKEN)
    async with platform.reconciling(limits=PodLimits(event_ttl_s=5)):
        await platform.deploy("v1", broken)
        await platform.wait_pods(
            lambda statuses: any(status.phase is PodPhase.BACK_OFF for status in statuses)
        )

        assert await request_activation(platform, broken) is Wake.NOT_IDLE


async def test_activation_fails_when_the_version_cannot_start(
    platform: Platform,
) -> None:
    once = "import pathlib\npathlib.Path('../../started').touch(exist_ok=False)\n"
    api = await platform.version(once + programs.GOOD)
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_idle(api)

        assert await request_activation(platform, api) is Wake.NOT_IDLE


async def test_a_version_that_was_never_ready_is_not_idle(platform: Platform) -> None:
    broken = await platform.version(programs.BROKEN, "order-worker")
    api = await platform.version(programs.GOOD)
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api, broken)

        await platform.wait_idle(api)

        assert [status.component for status in platform.board.statuses] == ["order-worker"]


async def test_a_version_is_not_stopped_while_emitted_events_wait_for_it(
    platform: Platform,
) -> None:
    await ensure_outbox(platform.bus)
    worker = await platform.version(programs.GOOD, "order-worker")
    api = await platform.version(programs.GOOD)
    await Outbox(platform.bus).store(subjects.emitted(worker.subject), b"event")
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api, worker)

        await platform.wait_idle(api)

        assert [status.component for status in platform.board.statuses] == ["order-worker"]


async def test_an_undeployed_idle_version_can_still_be_activated_by_earlier_requests(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    used: set[str] = set()
    await answer_usage(platform, used)
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_idle(api)
        await platform.undeploy("v1")
        await platform.wait_idle()

        used.add(api.hash)
        assert await request_activation(platform, api) is Wake.AWAKE
        used.clear()

        await platform.wait_ready()
        assert await request_activation(platform, api) is Wake.NOT_IDLE


async def test_the_next_reconciler_keeps_idle_versions_and_can_activate_them(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_idle(api)

    async with platform.reconciling(limits=NEVER_IDLE) as reconciler:
        await wait_until(lambda: reconciler.is_leading)
        await platform.wait_idle(api)

        assert await request_activation(platform, api) is Wake.AWAKE
        await platform.wait_ready(api)
        await platform.wait_pods(lambda _: not platform.board.idle_versions)


async def test_a_reconciler_that_stops_no_idle_versions_starts_those_of_an_earlier_one(
    platform: Platform,
) -> None:
    api = await platform.version(programs.GOOD)
    await answer_usage(platform, set())
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", api)
        await platform.wait_idle(api)

    async with platform.reconciling(limits=PodLimits()):
        await platform.wait_ready(api)
        await platform.wait_pods(lambda _: not platform.board.idle_versions)


async def test_all_runners_stop_and_start_the_pods_of_an_idle_version(platform: Platform) -> None:
    api = await platform.version(programs.GOOD)
    used = {api.hash}
    await answer_usage(platform, used)
    async with (
        platform.reconciling(holder="one", limits=LIMITS),
        platform.reconciling(holder="two", limits=LIMITS),
    ):
        await platform.deploy("v1", api)
        await platform.wait_ready(api, api)

        used.clear()
        await platform.wait_idle(api)
        used.add(api.hash)

        assert await request_activation(platform, api) is Wake.AWAKE
        await platform.wait_ready(api, api)


async def test_the_callees_of_a_version_are_activated_with_it(
    platform: Platform,
) -> None:
    api, api_2 = await platform.version(programs.GOOD), await platform.version(GOOD_2)
    ui = await platform.version(programs.GOOD, "order-ui", calls=("api-server",))
    worker = await platform.version(programs.GOOD, "order-worker")
    used: set[str] = set()
    await answer_usage(platform, used)
    async with platform.reconciling(limits=LIMITS):
        await platform.deploy("v1", ui, api, worker)
        await platform.deploy("v2", ui, api_2)
        await platform.wait_idle(ui, api, api_2, worker)
        used |= {ui.hash, api.hash}

        assert await request_activation(platform, ui, ui, api, worker) is Wake.AWAKE

        await platform.wait_ready(ui, api)
        assert {idle.hash for idle in platform.board.idle_versions} == {api_2.hash, worker.hash}
