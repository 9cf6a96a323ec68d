"""A world whose telemetry is collected: requests, their traces and their counts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from broker.dispatch.request import DispatchRequest
from broker.telemetry.collector import Collector
from kubefox.context import ComponentView, adapter_source
from kubefox.errors import FoxError, NotFound
from kubefox.telemetry import Span, Stats, Trace
from routing.request import GenesisRequest
from tests.support.data_plane import SETTINGS, DataPlane
from tests.support.world import World, open_world

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


class TelemetryWorld:
    """A world whose telemetry is collected.

    Attributes:
        world: The platform.
        collector: Has the telemetry of its processes.
    """

    def __init__(self, world: World, collector: Collector) -> None:
        self.world = world
        self.collector = collector

    @property
    def plane(self) -> DataPlane:
        return self.world.plane

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
        event_id = broker.telemetry.new_id()
        measured = broker.telemetry.request_telemetry(SOURCE)(event_id)
        measured.method, measured.path = "GET", path
        measured.continue_trace(traceparent, sample=sample)
        target = broker.dispatch_target(self.plane.target(path, deployment, environment))
        measured.set_target(target)
        measured.sent_ns = measured.routed_ns
        try:
            head, _ = await broker.dispatch(
                DispatchRequest(
                    target=target,
                    request=GenesisRequest(path=path),
                    event_id=event_id,
                    source=SOURCE,
                    handler=target.route,
                    traceparent=measured.traceparent,
                )
            )
        except FoxError as error:
            measured.abort(error)
            return measured.trace_id, error.http_status
        measured.responder = head.responder
        measured.end(head.status)
        return measured.trace_id, head.status

    async def trace(self, trace_id: str, spans: int) -> Trace:
        """Return a trace once it has ``spans`` spans."""
        while True:
            with contextlib.suppress(NotFound):
                found = await self.collector.traces.find(trace_id)
                if len(found.spans) >= spans:
                    return found
            await self.plane.broker.bus.flush()

    async def stats(self, is_whole: Callable[[Stats], bool]) -> Stats:
        """Return the figures once ``is_whole`` accepts them: a slow answer counts the next time."""
        while not is_whole(stats := await self.collector.stats(0)):
            pass
        return stats


@contextlib.asynccontextmanager
async def open_telemetry_world(
    url: str, *, environments: Iterable[str] = ("live",), **settings: object
) -> AsyncIterator[TelemetryWorld]:
    """Open a world with a telemetry collector.

    Args:
        url: Of the nats-server.
        environments: Virtual environments to create.
        settings: Settings of the process that differ from the defaults.
    """
    changed = msgspec.structs.replace(SETTINGS, **settings)
    async with open_world(url, changed, environments={name: {} for name in environments}) as world:
        yield TelemetryWorld(world, await world.open_collector())


def tree(trace: Trace) -> dict[str, str]:
    """Return the name of each span's parent, by its own name."""
    names = {span.span_id: span.name for span in trace.spans}
    return {span.name: names.get(span.parent_id, "") for span in trace.spans}


def named(trace: Trace, name: str) -> Span:
    """Return the span of a name."""
    return next(span for span in trace.spans if span.name == name)
