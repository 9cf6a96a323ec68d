"""Components on a real NATS that are measured, and a control that gathers what they tell."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec

from broker import bus as buses
from broker.bus import Bus
from broker.ids import new_id
from broker.outbox import Outbox
from broker.pod_board import open_pod_board
from broker.receiver import receive
from broker.telemetry.collector import Collector, open_collector
from broker.telemetry.telemetry import Telemetry, open_telemetry
from fox.kit.context import Identity
from fox.kit.kit import Kit
from fox.kit.server import ComponentServer
from model import subjects
from model.context import ComponentView, adapter_source
from model.errors import FoxError, NotFound
from model.event import EventType
from model.telemetry import Span, Trace
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest, open_data_plane

SOURCE = adapter_source("test")
VIEW = ComponentView(
    app="shop",
    deployment="v1",
    virtual_environment="live",
    release="",
    vars={},
    targets={},
    callers=frozenset(),
)


class Watched:
    """A data plane whose events are measured."""

    def __init__(self, plane: DataPlane, collector: Collector) -> None:
        self.plane = plane
        self.collector = collector

    @contextlib.asynccontextmanager
    async def serving(self, component: str, kit: Kit, text: str = "v1") -> AsyncIterator[Bus]:
        """Serve a kit as a pod does, telemetry included, while the context lasts."""
        identity = Identity(app=APP, component=component, hash=digest(text), pod=f"{component}-1")
        process_id = f"{component}-{digest(text)[:12]}"
        telemetry = Telemetry(component, identity.pod)
        subject = subjects.component(APP, component, digest(text))
        async with buses.connect(self.plane.url, process_id=process_id) as bus:
            server = ComponentServer(kit, identity, bus, telemetry, Outbox(bus))
            async with (
                open_telemetry(telemetry, bus),
                receive(bus, subject, subjects.PODS_QUEUE, server.handle, source=server.source),
            ):
                yield bus

    async def get(
        self,
        path: str,
        deployment: str,
        environment: str = "live",
        *,
        traceparent: str = "",
        sample: bool = False,
    ) -> tuple[str, int]:
        """Send GET as an adapter does; return the trace's id and the status."""
        broker = self.plane.broker
        event_id = new_id()
        measured = broker.telemetry.genesis_of(SOURCE)(event_id)
        measured.method, measured.path = "GET", path
        measured.go_on(traceparent, sample=sample)
        lane = broker.lane(self.plane.target(path, deployment, environment))
        measured.lead_to(lane)
        measured.sent_ns = measured.routed_ns
        try:
            head, _ = await broker.dispatch(
                lane,
                event_id=event_id,
                type=EventType.HTTP,
                source=SOURCE,
                handler=lane.route,
                path=path,
                traceparent=measured.traceparent,
            )
        except FoxError as error:
            measured.break_off(error)
            return measured.trace_id, error.http_status
        measured.end(head.status)
        return measured.trace_id, head.status

    async def trace(self, trace_id: str, spans: int) -> Trace:
        """Return a trace once it has so many spans."""

        while True:
            with contextlib.suppress(NotFound):
                found = await self.collector.traces.find(trace_id)
                if len(found.spans) >= spans:
                    return found
            await self.plane.broker.bus.flush()


@contextlib.asynccontextmanager
async def open_watched(url: str, **settings: object) -> AsyncIterator[Watched]:
    """Open a data plane and a collector of what it tells."""
    changed = msgspec.structs.replace(SETTINGS, **settings)
    async with (
        open_data_plane(url, changed) as plane,
        open_pod_board(plane.broker.bus) as board,
        open_collector(plane.broker.bus, board) as collector,
    ):
        yield Watched(plane, collector)


def tree(trace: Trace) -> dict[str, str]:
    """Return the name of each span's parent, by its own name."""
    names = {span.span_id: span.name for span in trace.spans}
    return {span.name: names.get(span.parent_id, "") for span in trace.spans}


def named(trace: Trace, name: str) -> Span:
    """Return the span of a name."""
    return next(span for span in trace.spans if span.name == name)
