"""Requests to the state store are sent again until they are answered, if that is safe."""

from __future__ import annotations

import asyncio

import pytest

from broker.dispatch import event_sender
from broker.dispatch.event_sender import EventSender
from broker.nats.bus import Bus
from broker.nats.client import FastPathClient
from broker.nats.lost_connection import ConnectionLost, NotSent
from broker.streams.outgoing import OutgoingStream
from kubefox import codec, subjects
from kubefox.errors import FoxError, NoPodReady
from kubefox.senders import PLATFORM
from kubefox.state_store import STATE_STORE
from tests.broker.dispatch.test_event_sender import LONG_S, event


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_request_to_the_state_store_goes_to_another_process_if_one_hangs(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(event_sender, "STATE_STORE_ANSWER_S", 0.05)
    target, unanswered = subjects.adapter(STATE_STORE), asyncio.Event()

    async def hang(_payload: bytes, _reply: str) -> None:
        unanswered.set()

    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"read")

    await bus.serve(subjects.requests_to(target), hang, "adapters")
    await bus.serve(subjects.requests_to(target), answer, "adapters")
    sender, head = EventSender(bus, PLATFORM), event(method)

    while not unanswered.is_set():
        reading = sender.request(target, head, codec.encode(head), LONG_S)
        assert await reading == b"read"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_in_a_cluster_a_request_to_the_state_store_waits_for_a_process_of_it(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    target, head = subjects.adapter(STATE_STORE), event(method)

    async def answer(_payload: bytes, reply: str) -> None:
        await bus.publish(reply, b"done")

    asking = asyncio.create_task(
        EventSender(bus, PLATFORM).request(target, head, codec.encode(head), LONG_S)
    )
    done, _ = await asyncio.wait([asking], timeout=0.1)
    assert not done
    await bus.serve(subjects.requests_to(target), answer, "adapters")

    assert await asking == b"done"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_in_a_cluster_a_request_to_a_state_store_without_a_process_fails_after_the_hold(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(FastPathClient, "is_clustered", True)
    monkeypatch.setattr(event_sender, "LEAST_CLUSTER_HOLD_S", 0.1)
    target, head = subjects.adapter(STATE_STORE), event(method)
    sender = EventSender(bus, PLATFORM, hold_s=0.1)

    with pytest.raises(NoPodReady):
        await sender.request(target, head, codec.encode(head), LONG_S)


class ScriptedBus:
    """Fails requests in a cluster one after another, and answers the last one."""

    is_clustered = True

    def __init__(self, *failures: FoxError) -> None:
        self._failures = list(failures)

    async def wait_ready(self, _timeout_s: float) -> bool:
        return True

    async def request(
        self,
        _subject: str,
        _payload: bytes,
        _timeout_s: float,
        _body: OutgoingStream | None = None,
    ) -> bytes:
        if self._failures:
            raise self._failures.pop(0)
        return b"done"


@pytest.mark.parametrize("timeout_s", [0.5, LONG_S])
async def test_a_request_to_the_state_store_gets_over_all_faults_of_a_cluster(
    timeout_s: float,
) -> None:
    no_process = NoPodReady("no pod of adapter/state-store is ready")
    lost, not_sent = ConnectionLost("the connection is lost"), NotSent("there is none")
    sender = EventSender(ScriptedBus(no_process, lost, not_sent, no_process, no_process), PLATFORM)
    target, head = subjects.adapter(STATE_STORE), event("GET")

    assert await sender.request(target, head, codec.encode(head), timeout_s) == b"done"
    assert (sender.retries, sender.holds) == (2, 2)
