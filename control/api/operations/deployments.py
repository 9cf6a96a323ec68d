"""Operations on deployments: plan, upload, deploy, undo, abort, undeploy, prune."""

from __future__ import annotations

from control.api.messages import (
    AbortRequest,
    DeployRequest,
    PlanRequest,
    PruneRequest,
    UndoRequest,
    Uploaded,
)
from control.api.operation import ApiRequest, ApiServices, Operation
from control.listed_kinds.deployments import DeploymentsQuery
from control.listing.page import EncodedPage, Page
from control.rollouts import StoredDeployment
from kubefox.distill import Plan
from kubefox.pruning import Pruning
from kubefox.rollout import Generations


async def _plan(services: ApiServices, request: ApiRequest) -> Plan:
    wanted: PlanRequest = request.body
    return await services.control.deployments.plan(
        wanted.name, wanted.app, wanted.components, wanted.version, wanted.definitions
    )


async def _upload(services: ApiServices, request: ApiRequest) -> Uploaded:
    digest = request.path["hash"]
    await services.control.upload(digest, request.body)
    return Uploaded(hash=digest)


async def _list_deployments(services: ApiServices, request: ApiRequest) -> EncodedPage:
    return await services.control.lists.deployments.page(request.query, request.caller.sees)


async def _get_deployment(services: ApiServices, request: ApiRequest) -> StoredDeployment:
    return await services.control.deployments.get(request.name)


async def _deploy(services: ApiServices, request: ApiRequest) -> StoredDeployment:
    wanted: DeployRequest = request.body
    request.check_name(wanted.deployment.name)
    return await services.control.deployments.deploy(
        wanted.deployment, wanted.components, request.if_match, wanted.deadline_s
    )


async def _history(services: ApiServices, request: ApiRequest) -> Generations:
    return services.control.deployments.history(request.name)


async def _undo(services: ApiServices, request: ApiRequest) -> StoredDeployment:
    wanted: UndoRequest = request.body
    return await services.control.deployments.undo(
        request.name, wanted.generation, wanted.deadline_s
    )


async def _abort(services: ApiServices, request: ApiRequest) -> StoredDeployment:
    return await services.control.deployments.abort(request.name)


async def _undeploy(services: ApiServices, request: ApiRequest) -> None:
    await services.control.deployments.undeploy(request.name, request.if_match)
    await services.control.shares.try_remove_ended()


async def _prune(services: ApiServices, request: ApiRequest) -> Pruning:
    wanted: PruneRequest = request.body
    return await services.control.pruner.prune(
        is_dry_run=wanted.dry_run, with_state=wanted.with_state
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/plans",
        summary="Plan a deployment: the pods that start and stop, and the missing bundles; without "
        "components, plan an undeployment",
        handle=_plan,
        body=PlanRequest,
        result=Plan,
    ),
    Operation(
        method="PUT",
        path="/v1/bundles/{hash}",
        summary="Upload the bundle of a component version; 422 if its content has another hash",
        handle=_upload,
        body=bytes,
        result=Uploaded,
    ),
    Operation(
        method="GET",
        path="/v1/deployments",
        summary="List deployments",
        handle=_list_deployments,
        query=DeploymentsQuery,
        result=Page[StoredDeployment],
    ),
    Operation(
        method="GET",
        path="/v1/deployments/{name}",
        summary="Get one deployment",
        handle=_get_deployment,
        result=StoredDeployment,
    ),
    Operation(
        method="PUT",
        path="/v1/deployments/{name}",
        summary="Create a deployment, or begin a rollout of its new content; the answer shows "
        "whether it is rolling. The bundles of the components must be uploaded",
        handle=_deploy,
        body=DeployRequest,
        result=StoredDeployment,
        has_if_match=True,
    ),
    Operation(
        method="GET",
        path="/v1/deployments/{name}/history",
        summary="Get the generations of a deployment: the contents that it has had",
        handle=_history,
        result=Generations,
    ),
    Operation(
        method="POST",
        path="/v1/deployments/{name}/undo",
        summary="Begin a rollout to an earlier generation of a deployment",
        handle=_undo,
        body=UndoRequest,
        result=StoredDeployment,
    ),
    Operation(
        method="POST",
        path="/v1/deployments/{name}/abort",
        summary="End the rollout of a deployment, which keeps its content; 404 if none is rolling",
        handle=_abort,
        body=AbortRequest,
        result=StoredDeployment,
    ),
    Operation(
        method="DELETE",
        path="/v1/deployments/{name}",
        summary="Delete a deployment; 409 while it is released",
        handle=_undeploy,
        has_if_match=True,
    ),
    Operation(
        method="POST",
        path="/v1/prune",
        summary="Remove unused bundles, manifests and state, at most 100 of them in one request",
        handle=_prune,
        body=PruneRequest,
        result=Pruning,
    ),
)
