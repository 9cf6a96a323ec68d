"""Operations that read pods, logs, statistics, traces and routing decisions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from broker.runtime.cooperative import run_in_slices
from broker.storage.pod_logs import MAX_TAIL, LogQuery
from broker.telemetry import prometheus
from broker.telemetry.trace_store import MAX_TRACES, TraceQuery
from control.api.messages import MAX_WINDOW_S, ExplainQuery, MetricsQuery, StatsQuery
from control.api.operation import ApiRequest, ApiServices, Operation
from control.api.seen import seen_explanation, seen_lines, seen_stats, seen_traces
from control.api.url_explanation import ShareCheck, explain_url
from control.listed_kinds.versions import PodsQuery, VersionsQuery
from control.listing.page import EncodedPage, Page
from kubefox.errors import InvalidRequest
from kubefox.pod import IdleVersion, LogLine, PodStatus
from kubefox.telemetry import Stats, Trace, TraceSummary
from routing.explanation import Explanation


async def _list_pods(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.pods.page(request.query, request.caller.sees)


async def _get_pod(services: ApiServices, request: ApiRequest) -> PodStatus:
    return await services.control.lists.pod(request.path["pod"])


async def _list_idle_versions(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.idle_versions.page(request.query, request.caller.sees)


def _logs(services: ApiServices, request: ApiRequest) -> AsyncGenerator[LogLine, None]:
    wanted: LogQuery = request.query
    if not 0 <= wanted.tail <= MAX_TAIL:
        raise InvalidRequest(f"tail is {wanted.tail}: expected 0 to {MAX_TAIL}")
    lines = services.logs.read(wanted)
    sees = request.caller.sees
    return lines if sees is None else seen_lines(lines, sees)


async def _stats(services: ApiServices, request: ApiRequest) -> Stats:
    window_s: float = request.query.window_s
    if not 0 <= window_s <= MAX_WINDOW_S:
        raise InvalidRequest(f"window_s is {window_s:g}: expected 0 to {MAX_WINDOW_S}")
    stats = await services.collector.stats(window_s)
    sees = request.caller.sees
    return stats if sees is None else seen_stats(stats, sees)


async def _traces(services: ApiServices, request: ApiRequest) -> tuple[TraceSummary, ...]:
    wanted: TraceQuery = request.query
    if not 0 < wanted.limit <= MAX_TRACES:
        raise InvalidRequest(f"limit is {wanted.limit}: expected 1 to {MAX_TRACES}")
    return await services.collector.traces.recent(wanted, seen_traces(request.caller.sees))


async def _trace(services: ApiServices, request: ApiRequest) -> Trace:
    return await services.collector.traces.find(
        request.path["trace"], seen_traces(request.caller.sees)
    )


async def _metrics(services: ApiServices, request: ApiRequest) -> AsyncGenerator[bytes, None]:
    is_leader = services.collector.scrape_lease.ask() if request.query.leader_only else None
    if is_leader is not False:
        counts = await services.dead_letters.counts()
        async for block in services.collector.prometheus():
            yield block
        yield prometheus.render_events(*counts).encode()
    if is_leader is not None:
        yield prometheus.render_leader(is_leader=is_leader).encode()


async def _explain(services: ApiServices, request: ApiRequest) -> Explanation:
    wanted: ExplainQuery = request.query
    snapshot = services.control.store.snapshot
    check = ShareCheck(services.control.shares.keys, time.time())
    steps = explain_url(wanted.url, wanted.method, wanted.header, snapshot, check)
    found = await run_in_slices(steps)
    sees = request.caller.sees
    return found if sees is None else seen_explanation(found, snapshot, sees)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/pods",
        summary="List the status of pods",
        handle=_list_pods,
        query=PodsQuery,
        result=Page[PodStatus],
    ),
    Operation(
        method="GET",
        path="/v1/pods/{pod}",
        summary="Get the status of one pod; its name is its id",
        handle=_get_pod,
        result=PodStatus,
    ),
    Operation(
        method="GET",
        path="/v1/idle-versions",
        summary="List idle component versions: they have no pod until their next event",
        handle=_list_idle_versions,
        query=VersionsQuery,
        result=Page[IdleVersion],
    ),
    Operation(
        method="GET",
        path="/v1/logs",
        summary="Stream the output of pods, one JSON object per line",
        stream=_logs,
        query=LogQuery,
        result=LogLine,
    ),
    Operation(
        method="GET",
        path="/v1/stats",
        summary="Get rates, errors and quantiles of each deployment and component version",
        handle=_stats,
        query=StatsQuery,
        result=Stats,
    ),
    Operation(
        method="GET",
        path="/v1/traces",
        summary="List recent traces: sampled, failed and slow ones",
        handle=_traces,
        query=TraceQuery,
        result=tuple[TraceSummary, ...],
    ),
    Operation(
        method="GET",
        path="/v1/traces/{trace}",
        summary="Get one trace by its id, the beginning of its id, or the id of one of its events",
        handle=_trace,
        result=Trace,
    ),
    Operation(
        method="GET",
        path="/metrics",
        summary="Get all metrics as Prometheus text",
        stream=_metrics,
        query=MetricsQuery,
        result=str,
        text=prometheus.MEDIA,
    ),
    Operation(
        method="GET",
        path="/v1/explain",
        summary="Explain which selector, release, rule and component graph would serve a URL",
        handle=_explain,
        query=ExplainQuery,
        result=Explanation,
    ),
)
