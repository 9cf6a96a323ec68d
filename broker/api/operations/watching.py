"""What runs, and what it does."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from broker.api.explaining import explain_url
from broker.api.messages import ExplainQuery, StatsQuery
from broker.api.operation import Call, Operation, Parts
from broker.pod_logs import LogQuery
from broker.telemetry import prometheus
from broker.telemetry.trace_store import TraceQuery
from model.errors import InvalidRequest
from model.pod import LogLine, PodStatus, Sleeper
from model.telemetry import Stats, Trace, TraceSummary
from routing.explain import Explanation

MAX_TAIL = 10_000
MAX_WINDOW_S = 60
MAX_TRACES = 1_000


async def _list_pods(parts: Parts, _call: Call) -> tuple[PodStatus, ...]:
    return parts.control.board.statuses


async def _list_sleepers(parts: Parts, _call: Call) -> tuple[Sleeper, ...]:
    return parts.control.board.sleepers


def _logs(parts: Parts, call: Call) -> AsyncGenerator[LogLine, None]:
    wanted: LogQuery = call.query
    if not 0 <= wanted.tail <= MAX_TAIL:
        raise InvalidRequest(f"tail is {wanted.tail}, expected 0 to {MAX_TAIL}")
    return parts.logs.read(wanted)


async def _stats(parts: Parts, call: Call) -> Stats:
    window_s: float = call.query.window_s
    if not 0 <= window_s <= MAX_WINDOW_S:
        raise InvalidRequest(f"window_s is {window_s:g}, expected 0 to {MAX_WINDOW_S}")
    return await parts.collector.stats(window_s)


async def _traces(parts: Parts, call: Call) -> tuple[TraceSummary, ...]:
    wanted: TraceQuery = call.query
    if not 0 < wanted.limit <= MAX_TRACES:
        raise InvalidRequest(f"limit is {wanted.limit}, expected 1 to {MAX_TRACES}")
    return await parts.collector.traces.recent(wanted)


async def _trace(parts: Parts, call: Call) -> Trace:
    return await parts.collector.traces.find(call.path["id"])


async def _metrics(parts: Parts, _call: Call) -> str:
    counts = await parts.dead_letters.counts()
    return await parts.collector.prometheus() + prometheus.render_events(*counts)


async def _explain(parts: Parts, call: Call) -> Explanation:
    wanted: ExplainQuery = call.query
    snapshot = parts.control.store.snapshot
    return explain_url(wanted.url, wanted.method, wanted.header, snapshot)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/pods",
        summary="Status of every pod",
        answer=_list_pods,
        result=tuple[PodStatus, ...],
    ),
    Operation(
        method="GET",
        path="/v1/sleepers",
        summary="Component versions without pods, until their next event",
        answer=_list_sleepers,
        result=tuple[Sleeper, ...],
    ),
    Operation(
        method="GET",
        path="/v1/logs",
        summary="Lines of pods' output, one JSON object a line",
        lines=_logs,
        query=LogQuery,
        result=LogLine,
    ),
    Operation(
        method="GET",
        path="/v1/stats",
        summary="Rate, errors and quantiles of each deployment and each component version",
        answer=_stats,
        query=StatsQuery,
        result=Stats,
    ),
    Operation(
        method="GET",
        path="/v1/traces",
        summary="Recent traces: sampled ones, those that failed and the slowest",
        answer=_traces,
        query=TraceQuery,
        result=tuple[TraceSummary, ...],
    ),
    Operation(
        method="GET",
        path="/v1/traces/{id}",
        summary="One trace, by its id or the beginning of it, or by the id of one of its events",
        answer=_trace,
        result=Trace,
    ),
    Operation(
        method="GET",
        path="/metrics",
        summary="All figures as Prometheus text",
        answer=_metrics,
        result=str,
        text=prometheus.MEDIA,
    ),
    Operation(
        method="GET",
        path="/v1/explain",
        summary="Which selector, release, rule and graph would serve a URL",
        answer=_explain,
        query=ExplainQuery,
        result=Explanation,
    ),
)
