"""Requests that a lost connection has lost fail, and no request that a pod may have."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from broker.dispatch.event_sender import EventSender
from broker.nats import bus as buses
from broker.nats import doubts, lost_requests, wake_requests
from broker.nats.bus import Bus
from broker.nats.client import LEAST_PAYLOAD_BYTES, FastPathClient
from broker.nats.held_requests import encode_question
from broker.nats.lost_connection import ConnectionLost
from kubefox import codec, subjects
from kubefox.senders import Sender
from tests.support.leading import lead
from tests.support.nats import NatsServer
from tests.support.questions import Questions
from tests.support.quick_pod import QuickPod
from tests.support.receiving import FOREVER_S, event
from tests.support.waiting_pod import API, BY_TEST, WaitingPod, frame, serving

QUESTIONS = 3
REQUESTS = 40
MANY = 5_000
LONG_ID = "0" * 200


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, and do not wait long for pods that may not answer."""
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    monkeypatch.setattr(lost_requests, "SETTLE_S", 0.05)
    for module in (doubts, lost_requests):
        monkeypatch.setattr(module, "ANSWER_S", 0.2)


async def lose_requests(bus: Bus) -> list[str]:
    """Lose some requests to the version from now on, and return their reply subjects."""
    lost: list[str] = []

    async def lose(_payload: bytes, reply: str) -> None:
        lost.append(reply)

    await bus.serve(subjects.requests_to(API), lose, "pods")
    await bus.flush()
    return lost


def send(bus: Bus, count: int = REQUESTS) -> list[asyncio.Task[bytes]]:
    return [asyncio.create_task(bus.request(BY_TEST, frame(), FOREVER_S)) for _ in range(count)]


async def outcomes_of(requests: list[asyncio.Task[bytes]]) -> tuple[int, int]:
    """Return how many requests were answered, and how many have failed as lost."""
    outcomes = await asyncio.gather(*requests, return_exceptions=True)
    lost = sum(isinstance(one, ConnectionLost) for one in outcomes)
    return sum(isinstance(one, bytes) for one in outcomes), lost


async def test_requests_that_no_pod_has_fail(bus: Bus, own_nats_server: NatsServer) -> None:
    pod = WaitingPod("pod")
    # A pod that is on the list and not connected is not waited for.
    await lead(bus, "pod", "not-there")
    async with serving(own_nats_server.url, pod) as pod_bus:
        lost = await lose_requests(bus)
        requests = send(bus)
        while pod.held + len(lost) < REQUESTS:
            await asyncio.sleep(0.001)

        await pod_bus.reconnected()
        await asyncio.wait(requests, return_when=asyncio.FIRST_EXCEPTION)
        pod.released.set()

        assert await outcomes_of(requests) == (pod.held, len(lost))


async def test_requests_to_a_connection_that_a_pod_has_left_are_noticed_later_too(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    pod = WaitingPod("pod")
    await lead(bus, "pod")
    async with serving(own_nats_server.url, pod) as pod_bus:
        await pod_bus.reconnected()
        await pod_bus.flush()
        # The server sends requests to the connection that the pod has left.
        lost = await lose_requests(bus)
        requests = list[asyncio.Task[bytes]]()
        while not lost:
            requests += send(bus, 1)
            await asyncio.sleep(0.01)

        await asyncio.wait(requests, return_when=asyncio.FIRST_EXCEPTION)
        pod.released.set()

        assert await outcomes_of(requests) == (pod.held, len(lost))


@pytest.mark.parametrize("is_pod_cut_off", [False, True])
async def test_requests_that_a_blocked_pod_has_are_not_sent_again(
    bus: Bus, own_nats_server: NatsServer, *, is_pod_cut_off: bool
) -> None:
    blocked, alive = QuickPod(), QuickPod()
    await lead(bus, "blocked", "alive")
    sender, questions = EventSender(bus, Sender("shop", "test")), Questions()
    async with (
        blocked.running(own_nats_server.url, "blocked"),
        alive.running(own_nats_server.url, "alive"),
    ):
        await questions.follow(bus, subjects.gone(API))
        await blocked.block()
        requests = [
            asyncio.create_task(
                sender.request(API, one, codec.encode(one), FOREVER_S, idempotent=True)
            )
            for one in (event(str(number)) for number in range(REQUESTS))
        ]

        if is_pod_cut_off:
            await bus.publish(subjects.pods_back(API), b"")
        else:
            await bus.reconnected()
        await questions.wait(QUESTIONS)
        blocked.unblock()
        await asyncio.gather(*requests)

    assert blocked.handled
    assert sorted(blocked.handled + alive.handled) == sorted(map(str, range(REQUESTS)))
    assert sender.retries == 0


async def test_no_answer_of_a_pod_is_no_proof(bus: Bus, own_nats_server: NatsServer) -> None:
    questions = Questions()
    await lead(bus, "pod")
    await questions.follow(bus, subjects.gone(API))
    lost = await lose_requests(bus)
    requests = send(bus)

    await bus.reconnected()
    waits = await questions.wait(QUESTIONS, requests)
    async with serving(own_nats_server.url, WaitingPod("pod")):
        outcomes = await outcomes_of(requests)

    assert waits
    assert outcomes == (0, len(lost)) == (0, REQUESTS)


async def test_nothing_fails_while_the_pods_are_not_known(
    bus: Bus, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_requests, "ROSTER_S", 0.05)
    pod, unanswered = WaitingPod("pod"), Questions()
    async with serving(own_nats_server.url, pod):
        silent = await bus.serve(subjects.WAKES, unanswered.note)
        lost = await lose_requests(bus)
        requests = send(bus)
        while pod.held + len(lost) < REQUESTS:
            await asyncio.sleep(0.001)

        await bus.reconnected()
        waits = await unanswered.wait(QUESTIONS, requests)
        await bus.stop_serving(silent)
        await lead(bus, "pod")
        await asyncio.wait(requests, return_when=asyncio.FIRST_EXCEPTION)
        pod.released.set()
        outcomes = await outcomes_of(requests)

    assert waits
    assert outcomes == (pod.held, len(lost))


async def test_requests_are_asked_for_in_parts_that_fit_into_a_message(tmp_path: Path) -> None:
    with NatsServer(tmp_path, f"max_payload: {LEAST_PAYLOAD_BYTES}") as server:
        async with buses.connect(server.url, process_id=LONG_ID) as bus:
            await lead(bus, "pod")
            lost = await lose_requests(bus)
            requests = send(bus, MANY)
            while len(lost) < MANY:
                await asyncio.sleep(0.001)

            async with serving(server.url, WaitingPod("pod")):
                await bus.reconnected()
                outcomes = await outcomes_of(requests)

    assert len(encode_question(tuple(lost))) > LEAST_PAYLOAD_BYTES
    assert outcomes == (0, MANY)
