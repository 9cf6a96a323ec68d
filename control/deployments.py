"""Deployments: planned, deployed after all checks, and undeployed when no release names them.

A new deployment is written at once. Other components under a name that exists are a rollout
(``control.rollouts``): requests meet the earlier content until the new component versions are
ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from broker.runtime.cooperative import run_in_slices
from broker.storage.bundles import Bundles
from broker.storage.store import Store
from control.breaking_changes import breaking_changes_by_code
from control.deployment_checks import (
    check_components,
    check_deadline,
    check_deployment,
    check_version,
    schedule_problems,
)
from control.deployment_content import (
    as_current,
    check_replaceable,
    is_requested,
    is_unchanged,
)
from control.listed_names import listed
from control.rollouts import Rollouts, StoredDeployment
from control.stored_record import StoredRecord, check_match, load
from control.transactions import OptimisticTransaction, in_transaction
from control.variable_warnings import lacking_variables
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.deployment import Deployment
from kubefox.distill import Plan, distill
from kubefox.errors import (
    DeploymentNotFound,
    InUse,
    Problem,
    ProblemsFound,
)
from kubefox.names import check_name
from kubefox.records import component_key, deployment_key
from kubefox.rollout import DeploymentState, Generations, undo_target
from routing.snapshot.content_rules import definitions_of
from routing.validate import deployment_problems

CheckSchedule = Callable[[str], object]
"""Raises InvalidRequest for a cron expression that the cron adapter does not support."""

_NO_DEFINITIONS: Mapping[str, ComponentDefinition] = MappingProxyType({})


class Deployments:
    """Writes deployments and their component versions.

    Args:
        store: The control plane's data.
        bundles: Components' code, uploaded before a deployment.
        adapters: Kinds of adapters that components may depend on.
        check_schedule: Checks the schedules of components.
        rollouts: Begins the rollouts of changed deployments.
        transaction: The transaction of this process.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        *,
        adapters: frozenset[str],
        check_schedule: CheckSchedule,
        rollouts: Rollouts,
        transaction: OptimisticTransaction,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._bundles = bundles
        self._adapters = adapters
        self._check_schedule = check_schedule
        self._rollouts = rollouts
        self._transaction = transaction
        self._now = now

    async def get(self, name: str) -> StoredDeployment:
        """Return one deployment.

        Raises:
            DeploymentNotFound: The deployment does not exist.
        """
        return await self._with_warnings(self._rollouts.stored(self._current(name)))

    def history(self, name: str) -> Generations:
        """Return the contents that a deployment has had.

        Raises:
            DeploymentNotFound: The deployment does not exist.
        """
        return self._rollouts.generations(self._current(name))

    async def plan(
        self,
        name: str,
        app: str,
        components: Mapping[str, str],
        version: str | None = None,
        definitions: Mapping[str, ComponentDefinition] = _NO_DEFINITIONS,
    ) -> Plan:
        """Return which pods a deployment would start and stop, and which bundles are missing.

        Args:
            name: Name of the deployment.
            app: Name of the app.
            components: Component name to hash; empty plans an undeployment.
            version: Version of the deployment.
            definitions: Definitions of component versions that are not stored, for the warnings.

        Raises:
            InvalidRequest: A name, a hash or the version is not valid.
            Immutable: ``deploy`` would raise it too, after the bundles were uploaded.
        """
        check_name(name, "deployment")
        check_name(app, "app")
        check_components(components)
        check_version(version)
        current = self._store.snapshot.deployments.get(name)
        wanted = Deployment(name=name, app=app, components=dict(components), version=version)
        if current is not None and components:
            check_replaceable(current, wanted)
        missing = await self._bundles.claim(components.values())
        warnings = await self._warnings(wanted, definitions)
        snapshot = self._store.snapshot
        plan = distill(
            name,
            app,
            components,
            snapshot.uses,
            replaced=snapshot.deployments.get(name),
            bundles=frozenset(components.values()) - missing,
        )
        return msgspec.structs.replace(plan, warnings=warnings)

    async def deploy(
        self,
        deployment: Deployment,
        versions: Sequence[ComponentVersion],
        if_match: int | None = None,
        deadline_s: float | None = None,
    ) -> StoredDeployment:
        """Create a deployment, or begin the rollout of its new content.

        A rollout whose component versions are all ready is complete when this returns. Equal
        components need no rollout: the rest of the deployment is written at once, and a rollout
        that is rolling ends. A rollout to the same content that is rolling goes on. The component
        versions are written first, so a deploy that fails halfway leaves no incomplete deployment.

        Args:
            deployment: The new deployment; its generation and its times are set here.
            versions: Its component versions; those that are stored already may be omitted.
            if_match: Revision that the writer expects, see ``check_match``.
            deadline_s: How long the rollout may be rolling; None for the platform's setting.

        Raises:
            InvalidRequest: A name or hash is not valid, or a version is of another deployment.
            Immutable: The stored deployment has a version and other content, or another app.
            ProblemsFound: A bundle or component is missing, or the component graph is not valid.
            RevisionConflict: The stored deployment has another revision.
        """
        check_deployment(deployment, versions)
        check_deadline(deadline_s)
        await self._deploy(deployment, versions, if_match, deadline_s)
        await self._rollouts.try_review(deployment.name)
        return await self._with_warnings(await self._rollouts.read(deployment.name))

    async def undo(
        self, name: str, generation: int | None = None, deadline_s: float | None = None
    ) -> StoredDeployment:
        """Begin a rollout to an earlier content of a deployment.

        Args:
            name: Name of the deployment.
            generation: Number of the content. None ends a rollout that is rolling; if there is
                none, it means the content before the current one.
            deadline_s: How long the rollout may be rolling; None for the platform's setting.

        Raises:
            DeploymentNotFound: The deployment does not exist.
            GenerationNotFound: The deployment has no such content.
            Immutable: The deployment has got a version.
            InvalidRequest: The generation is the current one.
            ProblemsFound: The content can no longer be used.
        """
        check_deadline(deadline_s)
        await self._undo(name, generation, deadline_s)
        await self._rollouts.try_review(name)
        return await self._with_warnings(await self._rollouts.read(name))

    async def abort(self, name: str) -> StoredDeployment:
        """End a rollout that is rolling; the deployment keeps its content.

        Raises:
            DeploymentNotFound: The deployment does not exist.
            GenerationNotFound: No rollout is rolling.
        """
        self._current(name)
        await self._rollouts.abort(name)
        return await self._rollouts.read(name)

    @in_transaction
    async def _deploy(
        self,
        deployment: Deployment,
        versions: Sequence[ComponentVersion],
        if_match: int | None,
        deadline_s: float | None,
    ) -> None:
        found = await self._load(deployment.name, if_match)
        if found is not None:
            check_replaceable(found.object, deployment)
        await self._replace(found, deployment, versions, deadline_s)

    @in_transaction
    async def _undo(self, name: str, generation: int | None, deadline_s: float | None) -> None:
        found = await self._load(name, None)
        if found is None:
            raise _not_found(name)
        rollouts = await self._rollouts.load(found.object)
        if generation is None and rollouts.object.rolling is not None:
            await self._rollouts.end(rollouts)
            return
        target = undo_target(rollouts.object, found.object, generation)
        check_replaceable(found.object, target)
        await self._replace(found, target, (), deadline_s)

    async def _replace(
        self,
        found: StoredRecord[Deployment] | None,
        wanted: Deployment,
        versions: Sequence[ComponentVersion],
        deadline_s: float | None,
    ) -> None:
        """Write a deployment, or begin its rollout; a part of a transaction."""
        if found is not None and is_unchanged(found.object, wanted):
            await self._rollouts.drop(await self._rollouts.load(found.object))
            return
        known = self._versions_by_name(wanted, versions)
        await self._check_problems(wanted, known)
        for version in versions:
            if self._stored_version(version) is None:
                await self._transaction.write(_key(version), version, None)
        if found is None:
            now_s = self._now()
            record = msgspec.structs.replace(
                wanted, generation=1, created_at_s=now_s, activated_at_s=now_s
            )
            await self._transaction.write(deployment_key(wanted.name), record, None)
            return
        rollouts = await self._rollouts.load(found.object)
        if is_requested(rollouts.object, wanted, deadline_s):
            return
        if found.object.components == wanted.components:
            await self._rollouts.drop(rollouts)
            record = as_current(wanted, found.object)
            await self._transaction.write(deployment_key(wanted.name), record, found)
        else:
            await self._rollouts.begin(rollouts, found.object, wanted, deadline_s)

    @in_transaction
    async def undeploy(self, name: str, if_match: int | None = None) -> None:
        """Delete a deployment with its rollouts.

        Its component versions and bundles stay until they are pruned.

        Args:
            name: Name of the deployment.
            if_match: Revision that the writer expects, see ``check_match``.

        Raises:
            DeploymentNotFound: The deployment does not exist.
            InUse: An active or pending release names it.
            RevisionConflict: The deployment has another revision.
        """
        found = await self._load(name, if_match)
        if found is None:
            raise _not_found(name)
        users = (await self._store.usage()).release_users(name)
        if users:
            raise InUse(
                f"deployment {name} is released in virtual environment {listed(users)}: "
                "release another deployment there, or withdraw the release with "
                "`fox release --none`"
            )
        await self._rollouts.remove(await self._rollouts.load(found.object))
        await self._transaction.delete(deployment_key(name))

    def _current(self, name: str) -> Deployment:
        deployment = self._store.snapshot.deployments.get(name)
        if deployment is None:
            raise _not_found(name)
        return deployment

    async def _with_warnings(self, stored: StoredDeployment) -> StoredDeployment:
        rollout = stored.rollout
        is_rolling = stored.state is DeploymentState.ROLLING
        latest = rollout.target if rollout is not None and is_rolling else stored.object
        return msgspec.structs.replace(stored, warnings=await self._warnings(latest))

    async def _warnings(
        self,
        deployment: Deployment,
        new: Mapping[str, ComponentDefinition] = _NO_DEFINITIONS,
    ) -> tuple[Problem, ...]:
        usage = await self._store.usage()
        stored, _ = definitions_of(deployment, usage.snapshot.records)
        own = {name: new[name] for name in deployment.components if name in new}
        return lacking_variables(deployment, {**own, **stored}, usage)

    async def _load(self, name: str, if_match: int | None) -> StoredRecord[Deployment] | None:
        """Return the deployment, read from NATS, if it has the expected revision.

        A rollout is a change of the deployment too, so the later revision of the two counts.
        """
        key = deployment_key(name)
        found = await load(self._store, key, Deployment)
        if found is not None and if_match is not None:
            rollouts = await self._rollouts.load(found.object)
            latest = max(found.revision, rollouts.revision)
            check_match(key, msgspec.structs.replace(found, revision=latest), if_match)
        else:
            check_match(key, found, if_match)
        return found

    def _versions_by_name(
        self, deployment: Deployment, versions: Sequence[ComponentVersion]
    ) -> dict[str, ComponentVersion]:
        """Return the component versions by name. A stored version wins over the one sent."""
        known = {version.name: version for version in versions}
        for name, digest in deployment.components.items():
            stored = self._store.snapshot.component(deployment.app, name, digest)
            if stored is not None:
                known[name] = stored
        return known

    async def _check_problems(
        self, deployment: Deployment, known: Mapping[str, ComponentVersion]
    ) -> None:
        definitions = {name: version.definition for name, version in known.items()}
        missing = await self._bundles.claim(deployment.components.values())
        checks = deployment_problems(deployment, definitions, self._adapters)
        problems = [
            *_missing_bundles(deployment, missing),
            *await run_in_slices(schedule_problems(definitions, self._check_schedule)),
            *await run_in_slices(checks),
        ]
        usage = await self._store.usage()
        problems += await breaking_changes_by_code(deployment, definitions, usage)
        if problems:
            raise ProblemsFound(f"deployment {deployment.name} has problems", tuple(problems))

    def _stored_version(self, version: ComponentVersion) -> ComponentVersion | None:
        return self._store.snapshot.component(version.app, version.name, version.hash)


def _not_found(name: str) -> DeploymentNotFound:
    return DeploymentNotFound(f"deployment {name} does not exist")


def _missing_bundles(deployment: Deployment, missing: frozenset[str]) -> list[Problem]:
    return [
        Problem(
            type="BundleNotFound",
            message=f"the bundle of {name}@{digest} is missing: upload it first",
            path=f"components.{name}",
        )
        for name, digest in sorted(deployment.components.items())
        if digest in missing
    ]


def _key(version: ComponentVersion) -> str:
    return component_key(version.app, version.name, version.hash)
