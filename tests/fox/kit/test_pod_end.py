"""A pod as a real process: how it ends."""

from __future__ import annotations

import asyncio
import signal

import pytest

from kubefox.errors import ComponentGone, NatsUnavailable, NoPodReady
from tests.e2e.processes import is_alive
from tests.fox.kit.pods import Pods, deploy, start_blocked_request, wait_gone
from tests.support.data_plane import DataPlane
from tests.support.nats import NatsServer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_pod(
    plane: DataPlane, pods: Pods, number: signal.Signals
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    blocking, request = await start_blocked_request(plane)

    pod.process.send_signal(number)
    await wait_gone(plane)
    assert pod.process.returncode is None
    blocking.released.set()

    assert (await request).text == "done"
    assert await pod.wait() == 0


async def test_a_second_signal_ends_the_pod_at_once(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    blocking, request = await start_blocked_request(plane)

    pod.process.terminate()
    await wait_gone(plane)
    pod.process.terminate()

    assert await pod.wait() == 1
    request.cancel()
    blocking.released.set()


async def test_the_end_of_the_lifeline_drains_the_pod(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    blocking, request = await start_blocked_request(plane)
    assert pod.process.stdin is not None

    pod.process.stdin.close()
    await wait_gone(plane)
    blocking.released.set()

    assert (await request).text == "done"
    assert await pod.wait() == 0


async def test_an_orphaned_pod_answers_the_events_that_it_does_not_finish(
    plane: DataPlane, pods: Pods
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()
    blocking, request = await start_blocked_request(plane)
    assert pod.process.stdin is not None

    pod.process.stdin.close()

    with pytest.raises(ComponentGone, match="ended with the request"):
        await request
    await pod.wait()
    blocking.released.set()


async def test_child_processes_end_with_the_lifeline(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start(leads_session=True)
    await pod.wait_ready()
    child = int((await plane.get("/child", "v1", "team-a")).text)
    assert pod.process.stdin is not None

    pod.process.stdin.close()
    await pod.wait()

    while is_alive(child):
        await asyncio.sleep(0)


async def test_a_component_that_ends_its_event_loop_ends_the_pod_at_once(
    plane: DataPlane, pods: Pods
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    request = asyncio.create_task(plane.get("/exit", "v1", "team-a"))

    assert await pod.wait() == 1
    assert "SystemExit" in pod.find("the component ended its event loop")["exception"]
    request.cancel()


async def test_without_a_lifeline_the_end_of_stdin_is_ignored(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start(FOX_LIFELINE=None)
    assert pod.process.stdin is not None
    pod.process.stdin.close()
    await pod.wait_ready()

    assert (await plane.get("/", "v1", "team-a")).text == "web v1"


async def test_a_killed_pod_is_unsubscribed(plane: DataPlane, pods: Pods) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    pod.process.kill()

    assert await pod.wait() == -signal.SIGKILL
    await wait_gone(plane)


async def test_a_pod_outlives_a_restart_of_nats(
    plane: DataPlane, pods: Pods, own_nats_server: NatsServer
) -> None:
    await deploy(plane)
    pod = await pods.start()
    await pod.wait_ready()

    await asyncio.to_thread(own_nats_server.restart)
    while True:
        try:
            answer = await plane.get("/", "v1", "team-a")
        except (NatsUnavailable, NoPodReady):
            await asyncio.sleep(0)
        else:
            break

    assert answer.text == "web v1"
    assert pod.process.returncode is None
