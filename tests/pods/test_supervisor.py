"""A pod that dies, hangs or cannot start is restarted, and its requesters fail at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from kubefox import codec
from kubefox.errors import ComponentGone
from kubefox.event import Event, EventType
from kubefox.pod import PodPhase, PodStatus
from pods import supervisor
from pods.base import PodSpec
from pods.limits import PodLimits
from pods.liveness import LivenessBounds
from pods.local import POD_COMMAND
from tests.pods import programs
from tests.pods.platform import Platform
from tests.pods.processes import is_gone, wait_until
from tests.support.nats import NatsServer
from tests.support.senders import sent_by

ANSWER_S = 120
"""How long an answer may take on a machine that is busy with other tests."""
GOOD = programs.GOOD
KIT_COMPONENT = """
from fox import Kit

kit = Kit()

@kit.default
async def answer(ctx):
    return "hello"
"""


async def test_a_killed_pod_is_announced_and_restarted(platform: Platform) -> None:
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
    # At once, and again before the restart, for events that NATS sent in between.
    assert platform.gone == [api.subject, api.subject]


async def test_a_pod_that_cannot_start_backs_off_while_others_run(
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


async def test_a_pod_starts_when_its_missing_bundle_arrives(platform: Platform) -> None:
    api = await platform.version(GOOD)
    bundle = platform.bundles.held.pop(api.hash)
    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)
        assert f"there is no bundle {api.hash}" in status.message

        platform.bundles.held[api.hash] = bundle

        await platform.wait_ready(api)


async def test_a_corrupt_bundle_is_reported(platform: Platform) -> None:
    api = await platform.version(GOOD)
    platform.bundles.held[api.hash] = b"not a bundle"

    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "gzip" in status.message


async def test_an_unwritable_bundle_folder_is_reported(platform: Platform) -> None:
    platform.folder.mkdir(exist_ok=True)
    (platform.folder / "bundles").write_text("in the way")
    api = await platform.version(GOOD)

    async with platform.reconciling():
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "cannot be unpacked in" in status.message


async def test_an_unknown_version_is_reported(platform: Platform) -> None:
    unknown = platform.bundles.add(GOOD)

    async with platform.reconciling():
        await platform.deploy("v1", unknown)
        (status,) = await platform.wait_pods(is_backing_off)

    assert "is unknown" in status.message


async def test_a_pod_that_is_not_ready_in_time_is_killed_and_backs_off(platform: Platform) -> None:
    api = await platform.version(programs.NEVER_READY)

    async with platform.reconciling(limits=PodLimits(start_deadline_s=0.3)):
        await platform.deploy("v1", api)
        (status,) = await platform.wait_pods(is_backing_off)

    assert status.message == "was not ready within 0.3 s"


async def test_a_pod_that_does_not_drain_is_killed_and_announced(
    platform: Platform,
) -> None:
    api = await platform.version(programs.STUBBORN)
    async with platform.reconciling(grace_s=0.1):
        await platform.deploy("v1", api)
        await platform.wait_ready(api)

        await platform.undeploy("v1")

        await platform.wait_ready()
    assert platform.gone == [api.subject]


async def test_the_number_of_pods_that_start_at_once_is_bounded(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SLOT_S", 3600)
    specs = [await platform.version(GOOD, f"component-{number}") for number in range(4)]
    starting: list[int] = []

    async with platform.reconciling(limits=PodLimits(starts_at_once=1)):
        await platform.deploy("v1", *specs)

        def is_ready(statuses: tuple[PodStatus, ...]) -> bool:
            live = [pod for pod in statuses if pod.phase is PodPhase.STARTING and pod.pid]
            starting.append(len(live))
            return sum(status.phase is PodPhase.READY for status in statuses) == len(specs)

        await platform.wait_pods(is_ready)

    assert max(starting) <= 1


async def test_a_pod_that_died_while_nats_was_down_is_on_the_board_again(
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


async def test_a_killed_component_answers_again_after_its_restart(
    platform: Platform,
) -> None:
    api = await platform.version(KIT_COMPONENT)
    async with platform.reconciling(command=POD_COMMAND):
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert await reports_invalid_context(platform, api)

        assert before.pid
        os.kill(before.pid, signal.SIGKILL)
        await platform.wait_pods(lambda statuses: statuses[0].restarts == 1)
        await platform.wait_ready(api)

        assert await reports_invalid_context(platform, api)


async def reports_invalid_context(platform: Platform, spec: PodSpec) -> bool:
    """Send a pod an event with a forged context, and return whether it answered with an error."""
    event = Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context="forged",
        source="adapter/http",
        deadline_ms=int((time.time() + ANSWER_S) * 1000),
    )
    frame = await platform.bus.request(
        sent_by(event.source, spec.subject), codec.encode(event), timeout_s=ANSWER_S
    )
    response, _ = codec.decode_response(frame)
    return response.error is not None


async def test_a_stopped_pod_is_killed_announced_and_restarted(
    platform: Platform,
) -> None:
    api = await platform.version(KIT_COMPONENT)
    # Only because it was stopped: its event loop may stand still for longer.
    liveness = LivenessBounds(alone_s=ANSWER_S)
    async with platform.reconciling(command=POD_COMMAND, liveness=liveness):
        await platform.deploy("v1", api)
        (before,) = await platform.wait_ready(api)
        assert before.pid

        os.kill(before.pid, signal.SIGSTOP)
        with pytest.raises(ComponentGone):
            await platform.bus.request(sent_by("test", api.subject), b"", timeout_s=ANSWER_S)

        (after,) = await platform.wait_pods(
            lambda statuses: statuses[0].phase is PodPhase.READY and statuses[0].restarts == 1
        )
        assert after.pid != before.pid
        assert await reports_invalid_context(platform, api)


async def test_a_pod_counts_the_deaths_before_it_was_ready(platform: Platform) -> None:
    broken = await platform.version(programs.BROKEN, "api-server")
    worker = await platform.version(GOOD, "order-worker")

    async with platform.reconciling():
        await platform.deploy("v1", broken, worker)
        _, before = await platform.wait_pods(
            lambda statuses: len(statuses) == 2 and statuses[1].phase is PodPhase.READY
        )
        assert before.pid
        os.kill(before.pid, signal.SIGKILL)
        api_status, worker_status = await platform.wait_pods(
            lambda statuses: statuses[0].failed_starts >= 3 and statuses[1].restarts == 1
        )

    assert api_status.restarts >= 2
    assert worker_status.failed_starts == 0
