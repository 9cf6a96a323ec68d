"""Plans, code, deployments, and what is left of them."""

from __future__ import annotations

from broker.api.messages import DeployRequest, PlanRequest, PruneRequest, Uploaded
from broker.api.operation import Call, Operation, Parts
from broker.control.writes import Stored
from model.deployment import Deployment
from model.distill import Plan
from model.pruning import Pruning


async def _plan(parts: Parts, call: Call) -> Plan:
    wanted: PlanRequest = call.body
    return await parts.control.deployments.plan(
        wanted.name, wanted.app, wanted.components, wanted.version
    )


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
    call.check_name(wanted.deployment.name)
    return await parts.control.deployments.deploy(
        wanted.deployment, wanted.components, call.if_match
    )


async def _undeploy(parts: Parts, call: Call) -> None:
    await parts.control.deployments.undeploy(call.name, call.if_match)


async def _prune(parts: Parts, call: Call) -> Pruning:
    wanted: PruneRequest = call.body
    return await parts.control.pruner.prune(is_dry_run=wanted.dry_run, with_state=wanted.with_state)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/plans",
        summary="What deploying would do to pods, 409 if it would be refused; without components, "
        "what undeploying would",
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
        has_if_match=True,
    ),
    Operation(
        method="DELETE",
        path="/v1/deployments/{name}",
        summary="Undeploy; 409 while released",
        answer=_undeploy,
        has_if_match=True,
    ),
    Operation(
        method="POST",
        path="/v1/prune",
        summary="Remove code that no deployment and no release names, at most 100 things a request",
        answer=_prune,
        body=PruneRequest,
        result=Pruning,
    ),
)
