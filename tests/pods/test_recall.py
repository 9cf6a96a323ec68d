"""Versions that are not deployed get pods back while emitted events wait for them."""

from __future__ import annotations

import asyncio

import msgspec

from broker.events.outbox import STREAM, Outbox, ensure_outbox
from broker.nats.wake_requests import Wake, WakeReply, WakeRequest
from kubefox import subjects
from kubefox.distill import Version
from kubefox.pod import PodPhase
from kubefox.senders import PLATFORM
from pods.base import PodSpec
from pods.limits import PodLimits
from pods.recall import members_called
from tests.pods import programs
from tests.pods.platform import APP, Platform

LIMITS = PodLimits(event_ttl_s=0.5)
SOON_S = 60


def target_of(spec: PodSpec) -> str:
    return subjects.component(APP, spec.component, spec.hash)


async def wake(platform: Platform, spec: PodSpec, *members: PodSpec) -> Wake:
    """Send requests to start a version until it is ready, or not to be started."""
    request = WakeRequest(
        target=target_of(spec), hashes=frozenset(member.hash for member in members)
    )
    state = Wake.WAKING
    async with asyncio.timeout(SOON_S):
        while state in {Wake.WAKING, Wake.RESTARTING}:
            answer = await platform.bus.request(
                subjects.wake(PLATFORM), msgspec.msgpack.encode(request), SOON_S
            )
            state = msgspec.msgpack.decode(answer, type=WakeReply).state
    return state


async def wait_leading(platform: Platform) -> None:
    """Wait until a reconciler answers requests to start versions."""
    async with asyncio.timeout(SOON_S):
        while not await platform.bus.gather(subjects.wake(PLATFORM), b"", 0.05):
            await asyncio.sleep(0.01)


async def test_a_version_without_a_deployment_starts_for_its_events_and_stops_after_them(
    platform: Platform,
) -> None:
    callee = await platform.version(programs.GOOD, "clerk")
    spec = await platform.version(programs.GOOD, "worker", calls=("clerk",))
    other = await platform.version(f"{programs.GOOD}# other\n", "other")
    await ensure_outbox(platform.bus)
    await Outbox(platform.bus).store(subjects.emitted(target_of(spec)), b"")

    async with platform.reconciling(limits=LIMITS):
        await wait_leading(platform)
        woken = await wake(platform, spec, spec, callee, other)
        statuses = await platform.wait_ready(spec, callee)
        await platform.bus.jetstream().purge_stream(STREAM)
        await platform.wait_pods(lambda statuses: not statuses)

    assert woken is Wake.AWAKE
    assert {status.phase for status in statuses} == {PodPhase.READY}


async def test_a_version_without_a_deployment_and_events_does_not_start(
    platform: Platform,
) -> None:
    spec = await platform.version(programs.GOOD, "worker")
    await ensure_outbox(platform.bus)

    async with platform.reconciling(limits=LIMITS):
        await wait_leading(platform)
        assert await wake(platform, spec, spec) is Wake.NOT_IDLE
        assert platform.board.statuses == ()


async def test_the_members_called_are_those_of_the_deployment_over_all_hops(
    platform: Platform,
) -> None:
    third = await platform.version(programs.GOOD, "third", calls=("first",))
    second = await platform.version(programs.GOOD, "second", calls=("third",))
    first = await platform.version(programs.GOOD, "first", calls=("second", "missing"))
    await platform.version(f"{programs.GOOD}# later\n", "second")
    hashes = frozenset(spec.hash for spec in (first, second, third))
    caller = Version(APP, "first", first.hash)
    snapshot = platform.store.snapshot
    while snapshot.component(*caller) is None:
        await platform.store.wait_change(snapshot.revision)
        snapshot = platform.store.snapshot

    found = members_called(caller, hashes, snapshot)

    assert found == (Version(APP, "second", second.hash), Version(APP, "third", third.hash))
