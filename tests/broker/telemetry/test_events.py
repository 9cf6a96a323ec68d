"""Events on a real NATS: what is told of them, trace by trace and figure by figure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
from opentelemetry import trace as otel

from broker import logs
from broker.telemetry.figures import OTHER
from broker.telemetry.metrics import end_genesis
from fox import Context, Kit, Response
from model.errors import Conflict, NotFound
from model.telemetry import Row
from tests.broker.telemetry.world import SOURCE, Watched, named, open_watched, tree
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
async def watched(own_nats_server: NatsServer) -> AsyncIterator[Watched]:
    async with open_watched(own_nats_server.url, trace_ratio=0.0) as watched:
        plane = watched.plane
        for name in ("live", "test"):
            await plane.virtual_environment(name)
        for name in ("v1", "v2"):
            await plane.deploy(name, {"ui": ui(), "api": api()})
        async with watched.serving("ui", ui()), watched.serving("api", api()):
            # The first event of a deployment in a while is its slowest.
            for name in ("v1", "v2"):
                await watched.get("/plain", name)
            yield watched


async def test_every_hop_of_a_sampled_event_is_in_its_trace(watched: Watched) -> None:
    trace_id, _ = await watched.get("/fine", "v1", sample=True)

    trace = await watched.trace(trace_id, spans=8)

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


async def test_spans_carry_the_names_of_the_conventions(watched: Watched) -> None:
    trace_id, _ = await watched.get("/fine", "v1", sample=True)

    trace = await watched.trace(trace_id, spans=8)

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
        "kubefox.pod": "ui-1",
    }
    assert expected.items() <= handler.attributes.items()
    assert handler.kind == "server"
    assert named(trace, "ask").attributes["what"] == "fine"
    assert named(trace, "ask").attributes["asked"] is True
    assert named(trace, "send api").attributes["messaging.operation.type"] == "send"
    assert named(trace, "GET").attributes["kubefox.event.id"]


async def test_a_trace_that_the_client_began_is_gone_on_with(watched: Watched) -> None:
    header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"

    trace_id, _ = await watched.get("/fine", "v1", traceparent=header)

    trace = await watched.trace(trace_id, spans=8)
    assert trace_id == CLIENT_TRACE
    assert named(trace, "GET").parent_id == CLIENT_SPAN


async def test_what_nobody_wants_to_see_is_not_traced(watched: Watched) -> None:
    header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"
    await watched.get("/plain", "v1")
    scopes = watched.plane.broker.telemetry._scopes[SOURCE]
    for scope in scopes._scopes.values():
        end_genesis(scope.words, 200, HOUR_NS, scopes.window)

    ids = [(await watched.get("/plain", "v1"))[0] for _ in range(5)]
    unwanted, _ = await watched.get("/plain", "v1", traceparent=header)
    last, _ = await watched.get("/plain", "v1", sample=True)

    await watched.trace(last, spans=4)
    for each in (*ids, unwanted):
        with pytest.raises(NotFound):
            await watched.collector.traces.find(each)


async def test_an_event_that_fails_is_traced_whole_though_nobody_asked(watched: Watched) -> None:
    trace_id, status = await watched.get("/fails", "v1")

    trace = await watched.trace(trace_id, spans=8)

    assert status == 500
    assert named(trace, "process api").error == "component_failed"
    assert named(trace, "GET").error == "component_failed"
    assert named(trace, "process ui").status == 500
    (event,) = named(trace, "process api").events
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "why"
    assert "in serve" in str(event.attributes["exception.stacktrace"])


async def test_a_failure_that_somebody_catches_is_traced_too(watched: Watched) -> None:
    trace_id, status = await watched.get("/catches", "v1")

    trace = await watched.trace(trace_id, spans=6)

    assert status == 200
    assert named(trace, "process api").status == 500


async def test_a_refusal_is_no_failure_of_the_platform(watched: Watched) -> None:
    _, status = await watched.get("/refuses", "v1")

    stats = await watched.collector.stats(0)

    assert status == 409
    assert all(each.all.total.errors == 0 for each in stats.components)


async def test_no_pod_is_an_error_of_the_deployment(watched: Watched) -> None:
    await watched.plane.deploy("v9", {"ui": ui(), "api": api()}, "other")

    trace_id, status = await watched.get("/fine", "v9")

    trace = await watched.trace(trace_id, spans=3)
    rows = {each.deployment: each for each in (await watched.collector.stats(0)).deployments}
    assert status == 503
    assert named(trace, "send ui").error == "no_pod_ready"
    assert (rows["v9"].total.requests, rows["v9"].total.errors) == (1, 1)


async def test_one_pod_has_figures_for_each_deployment_and_they_add_up(watched: Watched) -> None:
    before = await figures(watched, "api")
    for name, environment, count in (("v1", "live", 4), ("v2", "live", 3), ("v2", "test", 2)):
        for _ in range(count):
            await watched.get("/fine", name, environment)

    total, rows = await figures(watched, "api")

    assert before[0] is None
    assert total is not None
    assert {(each.deployment, each.virtual_environment): each.total.requests for each in rows} == {
        ("v1", "live"): 4,
        ("v2", "live"): 3,
        ("v2", "test"): 2,
    }
    assert total.total.requests == 9
    assert total.in_flight == 0
    assert total.queue_p95_ms is not None


async def figures(watched: Watched, component: str) -> tuple[Row | None, tuple[Row, ...]]:
    stats = await watched.collector.stats(0)
    for each in stats.components:
        if each.component == component:
            return each.all, each.deployments
    return None, ()


async def test_what_a_pod_counted_stays_when_it_is_gone(watched: Watched) -> None:
    await watched.plane.deploy("v3", {"ui": ui(), "api": api()}, "brief")
    async with watched.serving("ui", ui(), "brief"), watched.serving("api", api(), "brief"):
        for _ in range(3):
            await watched.get("/fine", "v3")

    stats = await watched.collector.stats(0)

    gone = [
        row.total.requests
        for each in stats.components
        for row in each.deployments
        if row.deployment == "v3"
    ]
    assert gone == [3, 3]


async def test_processes_tell_how_they_and_nats_are(watched: Watched) -> None:
    totals = await watched.collector.pull()

    gauges = {(service, name): value for _, service, name, value in totals.gauges}
    assert gauges["kubefox", "snapshot_current"] == 1
    assert gauges["kubefox", "snapshot_revision"] > 0
    assert ("ui", "nats_requests_waiting") in gauges
    assert totals.counters["ui", "nats_reconnects"] == 0


async def test_log_lines_of_a_handler_tell_whose_they_are(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[dict[str, object]] = []

    class Tap(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logs.fields_of(record))

    logger = logging.getLogger("api")
    logger.setLevel("INFO")
    logger.addHandler(tap := Tap())
    trace_id, _ = await watched.get("/fine", "v2", "test")
    logger.removeHandler(tap)

    (line,) = lines
    assert line["trace"] == trace_id
    assert (line["deployment"], line["virtual_environment"]) == ("v2", "test")
    assert (line["component"], line["pod"]) == ("api", "api-1")
    assert line["event"] != line["genesis"]


async def test_telemetry_may_be_off(own_nats_server: NatsServer) -> None:
    async with open_watched(own_nats_server.url, telemetry=False) as watched:
        await watched.plane.virtual_environment("live")
        await watched.plane.deploy("v1", {"ui": ui(), "api": api()})
        await watched.plane.start("ui", ui())
        await watched.plane.start("api", api())

        header = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"
        trace_id, status = await watched.get("/fine", "v1", traceparent=header)
        stats = await watched.collector.stats(0)

    assert (trace_id, status) == (CLIENT_TRACE, 200)
    assert (stats.deployments, stats.components) == ((), ())


async def test_other_stands_for_what_is_too_much(watched: Watched) -> None:
    metrics = watched.plane.broker.telemetry.metrics
    metrics._max_series = 0
    watched.plane.broker.telemetry._scopes.clear()

    await watched.get("/fine", "v1", "test")

    rows = (await watched.collector.stats(0)).deployments
    assert OTHER in {each.deployment for each in rows}
