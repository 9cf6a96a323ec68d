"""A pod that dies, hangs or cannot start is started again, and who waits for it is told."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from model import codec
from model.errors import ComponentGone
from model.event import Event, EventType
from model.pod import PodPhase, PodStatus
from pods.base import PodSpec
from pods.fleet import Limits
from pods.local import POD_COMMAND
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import is_gone, wait_until
from tests.support.nats import NatsServer

GOOD = programs.GOOD
KIT_COMPONENT = """
from fox import Kit

kit = Kit()

@kit.default
async def answer(ctx):
    return "hello"
"""


async def test_a_killed_pod_is_told_to_requesters_and_started_again(platform: Platform) -> None:
    api = await platform.version(GOOD)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert before.pid

        os.kill(before.pid, signal.SIGKILL)

        (after,) = await platform.wait_pods(
            lambda statuses: statuses[0].phase is PodPhase.READY and statuses[0].restarts == 1
        )
        assert after.id == before.id
        assert after.pid != before.pid
    # At once, and again before the restart: for what NATS sent the dead process in between.
    assert platform.gone == [api.subject, api.subject]


async def test_a_pod_that_cannot_start_backs_off_with_its_reason_and_others_run(
    platform: Platform,
) -> None:
    broken = await platform.version(programs.BROKEN, "api-server")
    worker = await platform.version(GOOD, "order-worker")

    async with platform.reconciling():
        await platform.deploy("v1", broken, worker)
        api_status, worker_status = await platform.wait_pods(
            lambda statuses: (
                {status.phase for status in statuses} == {PodPhase.BACK_OFF, PodPhase.READY}
            )
        )

    assert "RuntimeError: no such table: orders" in api_status.message
    assert worker_status.phase is PodPhase.READY


async def test_a_pod_whose_bundle_is_missing_starts_when_it_is_there(platform: Platform) -> None:
    api = await platform.version(GOOD)
    bundle = platform.bundles.held.pop(api.hash)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)
        assert f"there is no bundle {api.hash}" in status.message

        platform.bundles.held[api.hash] = bundle

        await platform.wait_ready(api)


async def test_a_corrupt_bundle_is_told(platform: Platform) -> None:
    api = await platform.version(GOOD)
    platform.bundles.held[api.hash] = b"not a bundle"

    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "gzip" in status.message


async def test_a_folder_of_bundles_that_cannot_be_written_is_told(platform: Platform) -> None:
    platform.folder.mkdir(exist_ok=True)
    (platform.folder / "bundles").write_text("in the way")
    api = await platform.version(GOOD)

    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "cannot be unpacked in" in status.message


async def test_a_version_without_its_record_is_told(platform: Platform) -> None:
    unknown = platform.bundles.add(GOOD)

    async with platform.reconciling():
        await platform.deploy("v1", unknown)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "is unknown" in status.message


async def test_a_pod_that_never_gets_ready_is_ended_and_backs_off(platform: Platform) -> None:
    api = await platform.version(programs.NEVER_READY)

    async with platform.reconciling(limits=Limits(start_deadline_s=0.3)):
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert status.message == "was not ready within 0.3 s"


async def test_a_pod_that_ignores_its_stop_is_killed_and_that_is_told_to_requesters(
    platform: Platform,
) -> None:
    api = await platform.version(programs.STUBBORN)
    async with platform.reconciling(grace_s=0.1):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        await platform.undeploy("v1")

        await platform.wait_ready()
    assert platform.gone == [api.subject]


async def test_at_most_so_many_pods_start_at_once(platform: Platform) -> None:
    specs = [await platform.version(GOOD, f"component-{number}") for number in range(4)]
    starting: list[int] = []

    async with platform.reconciling(limits=Limits(starts_at_once=1)):
        await platform.deploy("v1", *specs)

        def is_ready(statuses: tuple[PodStatus, ...]) -> bool:
            live = [each for each in statuses if each.phase is PodPhase.STARTING and each.pid]
            starting.append(len(live))
            return sum(each.phase is PodPhase.READY for each in statuses) == len(specs)

        await platform.wait_pods(is_ready)

    assert max(starting) <= 1


async def test_a_pod_that_died_while_nats_was_away_is_back_on_the_board(
    platform: Platform, own_nats_server: NatsServer
) -> None:
    api = await platform.version(GOOD)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert before.pid
        pid = before.pid

        await asyncio.to_thread(own_nats_server.stop)
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: is_gone(pid))
        await asyncio.to_thread(own_nats_server.start)

        await platform.wait_pods(
            lambda statuses: (
                len(statuses) == 1
                and statuses[0].restarts == 1
                and statuses[0].phase is PodPhase.READY
            )
        )


def is_backing_off(statuses: tuple[PodStatus, ...]) -> bool:
    return any(status.phase is PodPhase.BACK_OFF for status in statuses)


async def test_a_component_on_the_kit_answers_and_is_back_soon_after_it_was_killed(
    platform: Platform,
) -> None:
    api = await platform.version(KIT_COMPONENT)
    async with platform.reconciling(command=POD_COMMAND):
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert await asks_for_its_view(platform, api)

        assert before.pid
        os.kill(before.pid, signal.SIGKILL)
        await platform.wait_pods(lambda statuses: statuses[0].restarts == 1)
        await platform.wait_ready(api)

        assert await asks_for_its_view(platform, api)


async def asks_for_its_view(platform: Platform, spec: PodSpec) -> bool:
    """Send a pod an event whose context nobody can open, and return whether it said so."""
    event = Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context="forged",
        source="adapter/http",
        deadline_ms=int((time.time() + 10) * 1000),
    )
    frame = await platform.bus.request(spec.subject, codec.encode(event), timeout_s=10)
    response, _ = codec.decode_response(frame)
    return response.error is not None


async def test_a_stopped_pod_is_killed_told_to_requesters_and_started_again(
    platform: Platform,
) -> None:
    api = await platform.version(KIT_COMPONENT)
    async with platform.reconciling(command=POD_COMMAND, liveness_s=1):
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert before.pid

        os.kill(before.pid, signal.SIGSTOP)
        with pytest.raises(ComponentGone):
            await platform.bus.request(api.subject, b"", timeout_s=30)

        (after,) = await platform.wait_pods(
            lambda statuses: statuses[0].phase is PodPhase.READY and statuses[0].restarts == 1
        )
        assert after.pid != before.pid
        assert await asks_for_its_view(platform, api)
