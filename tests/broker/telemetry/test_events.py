"""Traces and figures of events on a real NATS."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry import trace as otel

from broker.runtime import logs
from broker.telemetry.figures import OTHER
from broker.telemetry.metrics import BoundedSeries, is_slowest
from fox import Context, Kit, Response
from kubefox.errors import Conflict, NotFound
from kubefox.telemetry import Stats
from tests.broker.telemetry.world import SOURCE, TelemetryWorld, named, open_telemetry_world, tree
from tests.support.data_plane import APP, digest
from tests.support.nats import NatsServer

CLIENT_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CLIENT_SPAN = "00f067aa0ba902b7"
HOUR_NS = 3_600 * 10**9


def api() -> Kit:
    """Return a component that is called; whether it fails is up to the path."""
    kit = Kit()

    @kit.default
    async def serve(ctx: Context) -> str:
        logging.getLogger("api").info("serving")
        if ctx.path == "/fails":
            raise ValueError("why")
        if ctx.path == "/refuses":
            raise Conflict("not now")
        return "ok"

    return kit


def ui() -> Kit:
    """Return a component that calls ``api``, with a span of its own around it."""
    kit = Kit()
    backend = kit.component("api")
    library = otel.get_tracer("an instrumentation library")

    @kit.route("Path(`/{what}`)")
    async def serve(ctx: Context) -> Response | str:
        what = ctx.segments[-1]
        with ctx.span("ask", what=what) as span:
            span.set_attribute("asked", True)
            with library.start_as_current_span("SELECT", kind=otel.SpanKind.CLIENT):
                answer = await backend.get(f"/{what}", ctx=ctx)
        return answer

    @kit.route("Path(`/plain`)")
    async def plain(_ctx: Context) -> str:
        with library.start_as_current_span("SELECT") as span:
            return str(span.is_recording())

    @kit.route("Path(`/catches`)")
    async def catches(ctx: Context) -> str:
        with contextlib.suppress(Exception):
            await backend.get("/fails", ctx=ctx)
        return "all is well"

    return kit


@pytest.fixture
async def world(own_nats_server: NatsServer) -> AsyncIterator[TelemetryWorld]:
    async with open_telemetry_world(
        own_nats_server.url, environments=("live", "test"), trace_ratio=0.0
    ) as world:
        plane = world.plane
        for name in ("v1", "v2"):
            await plane.deploy(name, {"ui": ui(), "api": api()})
        async with (
            world.plane.serving("ui", ui(), reports_telemetry=True),
            world.plane.serving("api", api(), reports_telemetry=True),
        ):
            # The first event of a deployment in a while is its slowest.
            for name in ("v1", "v2"):
                await world.get("/plain", name)
            yield world


async def test_a_sampled_trace_has_a_span_for_every_hop(world: TelemetryWorld) -> None:
    trace_id, _ = await world.get("/fine", "v1", sample=True)

    trace = await world.trace(trace_id, spans=8)

    assert tree(trace) == {
        "GET": "",
        "resolve": "GET",
        "send ui": "GET",
        "process ui": "send ui",
        "ask": "process ui",
        "SELECT": "ask",
        "send api": "SELECT",
        "process api": "send api",
    }
    assert {span.service for span in trace.spans} == {"adapter/test", "ui", "api"}


async def test_spans_have_the_attributes_of_the_semantic_conventions(world: TelemetryWorld) -> None:
    trace_id, _ = await world.get("/fine", "v1", sample=True)

    trace = await world.trace(trace_id, spans=8)

    handler = named(trace, "process ui")
    expected = {
        "http.request.method": "GET",
        "url.path": "/fine",
        "http.response.status_code": 200,
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "kubefox.app": "shop",
        "kubefox.deployment": "v1",
        "kubefox.virtual_environment": "live",
        "kubefox.component": "ui",
        "kubefox.pod": f"ui-{digest('v1')[:12]}-1",
    }
    assert expected.items() <= handler.attributes.items()
    assert handler.kind == "server"
    assert named(trace, "ask").attributes["what"] == "fine"
    assert named(trace, "ask").attributes["asked"] is True
    assert named(trace, "send api").attributes["messaging.operation.type"] == "send"
    assert named(trace, "GET").attributes["kubefox.event.id"]


async def test_a_client_trace_is_continued(world: TelemetryWorld) -> None:
    header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"

    trace_id, _ = await world.get("/fine", "v1", traceparent=header)

    trace = await world.trace(trace_id, spans=8)
    assert trace_id == CLIENT_TRACE
    assert named(trace, "GET").parent_id == CLIENT_SPAN


async def test_an_unsampled_trace_is_not_stored(world: TelemetryWorld) -> None:
    header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"
    await world.get("/plain", "v1")
    requests = world.plane.broker.telemetry._adapter_requests[SOURCE]
    for labels in requests.labels._of_context.values():
        is_slowest(labels.counters, HOUR_NS, requests.window)

    ids = [(await world.get("/plain", "v1"))[0] for _ in range(5)]
    unwanted, _ = await world.get("/plain", "v1", traceparent=header)
    last, _ = await world.get("/plain", "v1", sample=True)

    await world.trace(last, spans=4)
    for event_id in (*ids, unwanted):
        with pytest.raises(NotFound):
            await world.collector.traces.find(event_id)


async def test_a_failed_event_has_a_whole_trace_without_sampling(
    world: TelemetryWorld,
) -> None:
    trace_id, status = await world.get("/fails", "v1")

    trace = await world.trace(trace_id, spans=8)

    assert status == 500
    assert named(trace, "process api").error == "component_failed"
    assert named(trace, "GET").error == "component_failed"
    assert named(trace, "process ui").status == 500
    (event,) = named(trace, "process api").events
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "why"
    assert "in serve" in str(event.attributes["exception.stacktrace"])


async def test_a_caught_failure_keeps_the_trace_too(world: TelemetryWorld) -> None:
    trace_id, status = await world.get("/catches", "v1")

    trace = await world.trace(trace_id, spans=6)

    assert status == 200
    assert named(trace, "process api").status == 500


async def test_a_4xx_answer_is_not_an_error(world: TelemetryWorld) -> None:
    _, status = await world.get("/refuses", "v1")

    stats = await world.stats(
        lambda stats: handled(stats, "api") == 1 and bool(handled(stats, "ui"))
    )

    assert status == 409
    assert all(component.all.total.errors == 0 for component in stats.components)


async def test_no_pod_ready_counts_as_an_error_of_the_deployment(world: TelemetryWorld) -> None:
    await world.plane.deploy("v9", {"ui": ui(), "api": api()}, "other")

    trace_id, status = await world.get("/fine", "v9")

    trace = await world.trace(trace_id, spans=3)
    stats = await world.stats(lambda stats: "v9" in deployments(stats))
    rows = {row.deployment: row for row in stats.deployments}
    assert status == 503
    assert named(trace, "send ui").error == "no_pod_ready"
    assert (rows["v9"].total.requests, rows["v9"].total.errors) == (1, 1)


async def test_a_shared_pod_has_figures_for_each_deployment(
    world: TelemetryWorld,
) -> None:
    before = await world.collector.stats(0)
    for name, environment, count in (("v1", "live", 4), ("v2", "live", 3), ("v2", "test", 2)):
        for _ in range(count):
            await world.get("/fine", name, environment)

    stats = await world.stats(lambda stats: handled(stats, "api") >= 9)

    (found,) = (item for item in stats.components if item.component == "api")
    total, rows = found.all, found.deployments
    assert handled(before, "api") == 0
    assert {(row.deployment, row.virtual_environment): row.total.requests for row in rows} == {
        ("v1", "live"): 4,
        ("v2", "live"): 3,
        ("v2", "test"): 2,
    }
    assert total.total.requests == 9
    assert total.in_flight == 0
    assert total.queue_p95_ms is not None


def handled(stats: Stats, component: str) -> int:
    """Return how many requests a component has handled."""
    rows = (item.all for item in stats.components if item.component == component)
    return sum(row.total.requests for row in rows)


def deployments(stats: Stats) -> set[str]:
    """Return the deployments that adapters have counted requests of."""
    return {row.deployment for row in stats.deployments}


def handled_for(stats: Stats, deployment: str) -> list[int]:
    """Return how many requests of a deployment each component has handled."""
    return [
        row.total.requests
        for component in stats.components
        for row in component.deployments
        if row.deployment == deployment
    ]


async def test_the_figures_of_an_ended_pod_stay_in_the_sum(world: TelemetryWorld) -> None:
    await world.plane.deploy("v3", {"ui": ui(), "api": api()}, "brief")
    async with (
        world.plane.serving("ui", ui(), "brief", reports_telemetry=True),
        world.plane.serving("api", api(), "brief", reports_telemetry=True),
    ):
        for _ in range(3):
            await world.get("/fine", "v3")

    stats = await world.stats(lambda stats: sum(handled_for(stats, "v3")) >= 6)

    assert handled_for(stats, "v3") == [3, 3]


async def test_process_gauges_and_counters_are_collected(world: TelemetryWorld) -> None:
    gauges: dict[tuple[str, str, str], float] = {}
    # Those of a process that answers too late are missing.
    while len({(app, service) for app, service, _ in gauges}) < 3:
        totals = await world.collector.pull()
        gauges = {(one.app, one.service, one.name): one.value for one in totals.gauges}

    assert gauges["", "kubefox", "snapshot_current"] == 1
    assert gauges["", "kubefox", "snapshot_revision"] > 0
    assert (APP, "ui", "nats_requests_waiting") in gauges
    assert totals.counters[APP, "ui", "nats_reconnects"] == 0


async def test_log_lines_of_a_handler_have_the_fields_of_the_event(
    world: TelemetryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[dict[str, object]] = []

    class Tap(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logs.fields_of(record))

    logger = logging.getLogger("api")
    logger.setLevel("INFO")
    logger.addHandler(tap := Tap())
    trace_id, _ = await world.get("/fine", "v2", "test")
    logger.removeHandler(tap)

    (line,) = lines
    assert line["trace"] == trace_id
    assert (line["deployment"], line["virtual_environment"]) == ("v2", "test")
    assert (line["component"], line["pod"]) == ("api", f"api-{digest('v1')[:12]}-1")
    assert line["event"] != line["genesis"]


async def test_without_telemetry_events_carry_the_client_trace_and_nothing_is_counted(
    own_nats_server: NatsServer,
) -> None:
    async with open_telemetry_world(own_nats_server.url, telemetry=False) as world:
        await world.plane.deploy("v1", {"ui": ui(), "api": api()})
        await world.plane.start("ui", ui())
        await world.plane.start("api", api())

        header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"
        trace_id, status = await world.get("/fine", "v1", traceparent=header)
        stats = await world.collector.stats(0)

    assert (trace_id, status) == (CLIENT_TRACE, 200)
    assert (stats.deployments, stats.components) == ((), ())


async def test_deployments_beyond_the_limit_are_shown_as_other(world: TelemetryWorld) -> None:
    metrics = world.plane.broker.telemetry.metrics
    metrics._series = BoundedSeries(0)
    world.plane.broker.telemetry._adapter_requests.clear()
    world.plane.broker.telemetry._adapter_labels.clear()

    await world.get("/fine", "v1", "test")

    await world.stats(lambda stats: OTHER in deployments(stats))
