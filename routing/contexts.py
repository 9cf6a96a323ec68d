"""The data behind a context: what a component's view is made from."""

from __future__ import annotations

from model.component import ComponentDefinition, Value
from model.context import EventContext
from model.deployment import Deployment
from model.environment import overlay
from routing.active import definitions_of
from routing.records import Records
from routing.snapshot import Snapshot

ContextData = tuple[Deployment, dict[str, ComponentDefinition], dict[str, Value]]


def context_data(context: EventContext, snapshot: Snapshot) -> ContextData | None:
    """Return graph, definitions and variables of a context: what ``view_of`` takes.

    Returns:
        None unless the snapshot holds exactly the manifest or the revisions that the context
        names: an older or newer snapshot would tell something else.
    """
    records = snapshot.records
    found = _frozen(context, records) if context.manifest else _live(context, records)
    if found is None or found[0].app != context.app:
        return None
    deployment, values = found
    definitions, missing = definitions_of(deployment, records)
    return None if missing else (deployment, definitions, values)


def _frozen(context: EventContext, records: Records) -> tuple[Deployment, dict[str, Value]] | None:
    manifest = records.manifest(context.virtual_environment, context.manifest)
    if manifest is None:
        return None
    for deployment in manifest.deployments.values():
        if deployment.name == context.deployment:
            return deployment, manifest.data.vars
    return None


def _live(context: EventContext, records: Records) -> tuple[Deployment, dict[str, Value]] | None:
    deployment = records.deployments.get(context.deployment)
    virtual = records.virtual_environments.get(context.virtual_environment)
    if deployment is None or deployment.revision != context.deployment_revision:
        return None
    if virtual is None or virtual.revision != context.virtual_environment_revision:
        return None
    environment = records.environments.get(virtual.record.environment)
    if environment is None or environment.revision != context.environment_revision:
        return None
    return deployment.record, overlay(environment.record, virtual.record).vars
