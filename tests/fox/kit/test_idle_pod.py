"""An idle pod has two timers: its heartbeat, and the ping of its connection to NATS."""

from __future__ import annotations

import asyncio
import os

from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from broker.runtime.beat_file import create_beat_file
from broker.telemetry.telemetry import Telemetry, open_telemetry
from fox.kit.ready_pipe import BeatSettings, ReadyPipeWriter
from fox.kit.runs import Runs
from kubefox import codec, subjects
from kubefox.event import Event, EventType
from tests.support.nats import NatsServer
from tests.support.senders import sent_by

API = subjects.component("shop", "api", "a" * 32)
FOREVER_S = 60


async def handle(_event: Event, _body: codec.Body) -> Reply:
    return Reply()


def frame() -> bytes:
    event = Event(
        id="1",
        genesis_id="1",
        type=EventType.COMPONENT,
        context="token",
        source="test",
        deadline_ms=1 << 50,
    )
    return codec.encode(event, b"")


async def timers_of_idle_pod(url: str) -> list[str]:
    """Serve as a pod does, handle an event, and return the periodic timers that are left."""
    reading, writing = os.pipe()
    beats = BeatSettings(descriptor=create_beat_file(), busy_s=FOREVER_S, idle_s=FOREVER_S)
    ready_pipe = ReadyPipeWriter(writing, beats)
    telemetry = Telemetry("api", "api-1")
    async with (
        buses.connect(url, process_id="client") as client,
        buses.connect(url, process_id="api-1-00", follows_all_pods=False) as bus,
        open_telemetry(telemetry, bus, lambda: None),
        Runs(bus, "api-1-00").serving(bus, API),
        receive(bus, API, "pods", handle, source="api@1", pod="api-1") as receiver,
    ):
        telemetry.rest_while(lambda: not receiver.in_flight)
        ready_pipe.report_ready(lambda: receiver.in_flight)
        await client.request(sent_by("test", API), frame(), FOREVER_S)
        await client._client.close()
        timers = [
            repr(timer)
            for timer in asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
            # The timer of past deadlines ends once, without another one.
            if not timer.cancelled() and "Deadlines._fire" not in repr(timer)
        ]
    for descriptor in (reading, writing, beats.descriptor):
        os.close(descriptor)
    return timers


def test_an_idle_pod_has_two_timers(own_nats_server: NatsServer) -> None:
    # uvloop does not list its timers.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        timers = runner.run(timers_of_idle_pod(own_nats_server.url))

    beats = [timer for timer in timers if "ReadyPipeWriter._beat" in timer]
    pings = [timer for timer in timers if timer not in beats]
    assert (len(beats), len(pings)) == (1, 1), timers
