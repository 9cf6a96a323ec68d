"""Every operation of the control API, in one table."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from broker.api.explaining import explain_url
from broker.api.messages import (
    DeadLettersQuery,
    DeleteQuery,
    DeployRequest,
    ExplainQuery,
    Health,
    PlanRequest,
    PruneRequest,
    ReleaseRequest,
    RollbackRequest,
    StatsQuery,
    Uploaded,
    Version,
)
from broker.api.operation import Call, Operation, Parts
from broker.control.environments import Kind
from broker.control.secrets import EnvironmentObject
from broker.control.writes import Stored
from broker.pod_logs import LogQuery
from broker.telemetry import prometheus
from broker.telemetry.trace_store import TraceQuery
from model.dead_letter import DeadLetter
from model.deployment import Deployment
from model.distill import Plan
from model.environment import Environment, HTTPAdapter, VirtualEnvironment
from model.errors import InvalidRequest, Unavailable
from model.pod import LogLine, PodStatus
from model.pruning import Pruning
from model.release import ReleaseState
from model.telemetry import Stats, Trace, TraceSummary
from routing.explain import Explanation

MAX_TAIL = 10_000
MAX_WINDOW_S = 60
MAX_TRACES = 1_000
MAX_DEAD_LETTERS = 10_000


async def _alive(_parts: Parts, _call: Call) -> Health:
    return Health(status="ok")


async def _ready(parts: Parts, _call: Call) -> Health:
    states = {name: is_ready() for name, is_ready in parts.readiness.items()}
    missing = ", ".join(name for name, ready in states.items() if not ready)
    if missing:
        raise Unavailable(f"not ready: {missing}")
    return Health(status="ok", parts=states)


async def _version(parts: Parts, _call: Call) -> Version:
    return Version(version=parts.version)


async def _plan(parts: Parts, call: Call) -> Plan:
    wanted: PlanRequest = call.body
    return await parts.control.deployments.plan(wanted.name, wanted.app, wanted.components)


async def _upload(parts: Parts, call: Call) -> Uploaded:
    digest = call.path["hash"]
    await parts.control.upload(digest, call.body)
    return Uploaded(hash=digest)


async def _list_deployments(parts: Parts, _call: Call) -> tuple[Stored[Deployment], ...]:
    return parts.control.deployments.all()


async def _get_deployment(parts: Parts, call: Call) -> Stored[Deployment]:
    return parts.control.deployments.get(call.name)


async def _deploy(parts: Parts, call: Call) -> Stored[Deployment]:
    wanted: DeployRequest = call.body
    _check_name(call, wanted.deployment.name)
    return await parts.control.deployments.deploy(wanted.deployment, wanted.components)


async def _undeploy(parts: Parts, call: Call) -> None:
    await parts.control.deployments.undeploy(call.name)


async def _list_releases(parts: Parts, _call: Call) -> tuple[Stored[ReleaseState], ...]:
    return parts.control.releases.all()


async def _get_releases(parts: Parts, call: Call) -> Stored[ReleaseState]:
    return parts.control.releases.get(call.name)


async def _release(parts: Parts, call: Call) -> Stored[ReleaseState]:
    wanted: ReleaseRequest = call.body
    if bool(wanted.selector) == bool(wanted.apps):
        raise InvalidRequest("expected either a selector or apps")
    if wanted.apps:
        return await parts.control.releases.request_apps(call.name, wanted.apps)
    return await parts.control.releases.request(call.name, wanted.selector, wanted.app)


async def _roll_back(parts: Parts, call: Call) -> Stored[ReleaseState]:
    wanted: RollbackRequest = call.body
    return await parts.control.releases.rollback(call.name, wanted.release)


async def _prune(parts: Parts, call: Call) -> Pruning:
    wanted: PruneRequest = call.body
    return await parts.control.pruner.prune(is_dry_run=wanted.dry_run, with_state=wanted.with_state)


async def _list_pods(parts: Parts, _call: Call) -> tuple[PodStatus, ...]:
    return parts.control.board.statuses


def _logs(parts: Parts, call: Call) -> AsyncGenerator[LogLine, None]:
    wanted: LogQuery = call.query
    if not 0 <= wanted.tail <= MAX_TAIL:
        raise InvalidRequest(f"tail is {wanted.tail}, expected 0 to {MAX_TAIL}")
    return parts.logs.read(wanted)


async def _explain(parts: Parts, call: Call) -> Explanation:
    wanted: ExplainQuery = call.query
    snapshot = parts.control.store.snapshot
    return explain_url(wanted.url, wanted.method, wanted.header, snapshot)


async def _stats(parts: Parts, call: Call) -> Stats:
    window_s: float = call.query.window_s
    if not 0 <= window_s <= MAX_WINDOW_S:
        raise InvalidRequest(f"window_s is {window_s:g}, expected 0 to {MAX_WINDOW_S}")
    return await parts.collector.stats(window_s)


async def _metrics(parts: Parts, _call: Call) -> str:
    counts = await parts.dead_letters.counts()
    return await parts.collector.prometheus() + prometheus.render_events(*counts)


async def _traces(parts: Parts, call: Call) -> tuple[TraceSummary, ...]:
    wanted: TraceQuery = call.query
    if not 0 < wanted.limit <= MAX_TRACES:
        raise InvalidRequest(f"limit is {wanted.limit}, expected 1 to {MAX_TRACES}")
    return await parts.collector.traces.recent(wanted)


async def _trace(parts: Parts, call: Call) -> Trace:
    return await parts.collector.traces.find(call.path["id"])


async def _list_dead_letters(parts: Parts, call: Call) -> tuple[DeadLetter, ...]:
    wanted: DeadLettersQuery = call.query
    if not 0 < wanted.limit <= MAX_DEAD_LETTERS:
        raise InvalidRequest(f"limit is {wanted.limit}, expected 1 to {MAX_DEAD_LETTERS}")
    return tuple(await parts.dead_letters.all(wanted.limit))


async def _get_dead_letter(parts: Parts, call: Call) -> DeadLetter:
    return await parts.dead_letters.get(call.path["id"])


async def _redeliver(parts: Parts, call: Call) -> None:
    await parts.dead_letters.redeliver(call.path["id"])


async def _delete_dead_letter(parts: Parts, call: Call) -> None:
    await parts.dead_letters.delete(call.path["id"])


def _check_name(call: Call, name: str) -> None:
    if name != call.name:
        raise InvalidRequest(f"the path names {call.name!r}, the body {name!r}")


def _environment_operations(
    path: str, noun: str, kind: Kind, stored: type[object]
) -> tuple[Operation, ...]:
    async def every(parts: Parts, _call: Call) -> tuple[Stored[EnvironmentObject], ...]:
        return parts.control.environments.all(kind)

    async def one(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        return parts.control.environments.get(kind, call.name)

    async def put(parts: Parts, call: Call) -> Stored[EnvironmentObject]:
        _check_name(call, call.body.name)
        return await parts.control.environments.put(call.body, call.if_match)

    async def delete(parts: Parts, call: Call) -> None:
        environments = parts.control.environments
        await environments.delete(kind, call.name, call.if_match, force=call.query.force)

    named = f"{path}/{{name}}"
    return (
        Operation(
            method="GET",
            path=path,
            summary=f"List every {noun}; secrets are masked",
            answer=every,
            result=tuple[stored, ...],  # type: ignore[valid-type]
        ),
        Operation(
            method="GET",
            path=named,
            summary=f"One {noun}; secrets are masked",
            answer=one,
            result=stored,
        ),
        Operation(
            method="PUT",
            path=named,
            summary=f"Create or replace one {noun}; a masked secret keeps its value",
            answer=put,
            body=kind,
            result=stored,
            has_if_match=True,
        ),
        Operation(
            method="DELETE",
            path=named,
            summary=f"Delete one {noun} that is not in use",
            answer=delete,
            query=DeleteQuery,
            has_if_match=True,
        ),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/healthz",
        summary="Whether the process is alive",
        answer=_alive,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/readyz",
        summary="Whether every part is ready; 503 names those that are not",
        answer=_ready,
        result=Health,
    ),
    Operation(
        method="GET",
        path="/v1/version",
        summary="Version of the platform",
        answer=_version,
        result=Version,
    ),
    Operation(
        method="POST",
        path="/v1/plans",
        summary="What deploying would do to pods; without components, what undeploying would",
        answer=_plan,
        body=PlanRequest,
        result=Plan,
    ),
    Operation(
        method="PUT",
        path="/v1/bundles/{hash}",
        summary="Store a component version's code; 422 when it does not hash to that",
        answer=_upload,
        body=bytes,
        result=Uploaded,
    ),
    Operation(
        method="GET",
        path="/v1/deployments",
        summary="List deployments",
        answer=_list_deployments,
        result=tuple[Stored[Deployment], ...],
    ),
    Operation(
        method="GET",
        path="/v1/deployments/{name}",
        summary="One deployment",
        answer=_get_deployment,
        result=Stored[Deployment],
    ),
    Operation(
        method="PUT",
        path="/v1/deployments/{name}",
        summary="Deploy; the bundles of its components must be there",
        answer=_deploy,
        body=DeployRequest,
        result=Stored[Deployment],
    ),
    Operation(
        method="DELETE",
        path="/v1/deployments/{name}",
        summary="Undeploy; 409 while released",
        answer=_undeploy,
    ),
    *_environment_operations("/v1/environments", "environment", Environment, Stored[Environment]),
    *_environment_operations(
        "/v1/virtual-environments",
        "virtual environment",
        VirtualEnvironment,
        Stored[VirtualEnvironment],
    ),
    *_environment_operations("/v1/http-adapters", "HTTP adapter", HTTPAdapter, Stored[HTTPAdapter]),
    Operation(
        method="GET",
        path="/v1/releases",
        summary="Releases of every virtual environment that has any",
        answer=_list_releases,
        result=tuple[Stored[ReleaseState], ...],
    ),
    Operation(
        method="GET",
        path="/v1/releases/{name}",
        summary="Releases of one virtual environment",
        answer=_get_releases,
        result=Stored[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}",
        summary="Request a release; answers when it is pending or already active",
        answer=_release,
        body=ReleaseRequest,
        result=Stored[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/releases/{name}/rollback",
        summary="Restore an archived release, whole",
        answer=_roll_back,
        body=RollbackRequest,
        result=Stored[ReleaseState],
    ),
    Operation(
        method="POST",
        path="/v1/prune",
        summary="Remove code that no deployment and no release names, at most 100 things a request",
        answer=_prune,
        body=PruneRequest,
        result=Pruning,
    ),
    Operation(
        method="GET",
        path="/v1/pods",
        summary="Status of every pod",
        answer=_list_pods,
        result=tuple[PodStatus, ...],
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
        path="/v1/dead-letters",
        summary="Emitted events that were given up, the oldest first, without their bodies",
        answer=_list_dead_letters,
        query=DeadLettersQuery,
        result=tuple[DeadLetter, ...],
    ),
    Operation(
        method="GET",
        path="/v1/dead-letters/{id}",
        summary="One of them, with its body",
        answer=_get_dead_letter,
        result=DeadLetter,
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/{id}/redeliver",
        summary="Deliver one of them again, to the version and in the context that it was for",
        answer=_redeliver,
    ),
    Operation(
        method="DELETE",
        path="/v1/dead-letters/{id}",
        summary="Drop one of them for good",
        answer=_delete_dead_letter,
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
