"""Deployments: deploy what is whole and makes sense, undeploy what nobody has released."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from broker.bundles import Bundles
from broker.control.checks import (
    check_components,
    check_deployment,
    check_version,
    schedule_problems,
)
from broker.control.outages import outages_by_code
from broker.control.turn import Turn, in_turn
from broker.control.writes import Stored, check_match, load
from broker.store import Store
from model.component import ComponentVersion
from model.deployment import Deployment
from model.distill import Plan, distill
from model.errors import (
    DeploymentNotFound,
    Immutable,
    Problem,
    ProblemsFound,
)
from model.names import check_name
from model.records import component_key, deployment_key
from model.release import deployments_in_use
from routing.validate import deployment_problems

CheckSchedule = Callable[[str], object]
"""Raises InvalidRequest for an expression that the cron adapter cannot follow."""


class Deployments:
    """Writes deployments and the component versions they name.

    Args:
        store: The control plane's data.
        bundles: Where components' code must be before they are deployed.
        adapters: Kinds of adapters that components may depend on.
        check_schedule: Of the cron adapter.
        turn: Of this process.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        bundles: Bundles,
        *,
        adapters: frozenset[str],
        check_schedule: CheckSchedule,
        turn: Turn,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Put the parts together; nothing is opened or closed."""
        self._store = store
        self._bundles = bundles
        self._adapters = adapters
        self._check_schedule = check_schedule
        self._turn = turn
        self._now = now

    def all(self) -> tuple[Stored[Deployment], ...]:
        """Return every deployment, by name."""
        return tuple(self.get(name) for name in sorted(self._store.snapshot.deployments))

    def get(self, name: str) -> Stored[Deployment]:
        """Return one deployment.

        Raises:
            DeploymentNotFound: There is none of this name.
        """
        snapshot = self._store.snapshot
        if name not in snapshot.deployments:
            raise DeploymentNotFound(f"there is no deployment {name}")
        return Stored(
            revision=snapshot.revision_of(deployment_key(name)), object=snapshot.deployments[name]
        )

    async def plan(
        self, name: str, app: str, components: Mapping[str, str], version: str | None = None
    ) -> Plan:
        """Return what deploying ``components`` under ``name`` would mean for pods.

        Args:
            name: Name of the deployment.
            app: Name of the app.
            components: Component name to hash; empty plans an undeployment.
            version: That the deployment is to have.

        Raises:
            InvalidRequest: A name, a hash or the version is not valid.
            Immutable: As of ``deploy``: whoever plans first uploads nothing in vain.
        """
        check_name(name, "deployment")
        check_name(app, "app")
        check_components(components)
        check_version(version)
        current = self._store.snapshot.deployments.get(name)
        if current is not None and components:
            wanted = Deployment(name=name, app=app, components=dict(components), version=version)
            _check_replaceable(current, wanted)
        missing = await self._bundles.claim(components.values())
        snapshot = self._store.snapshot
        return distill(
            name,
            app,
            components,
            snapshot.uses,
            replaced=snapshot.deployments.get(name),
            bundles=frozenset(components.values()) - missing,
        )

    @in_turn
    async def deploy(
        self,
        deployment: Deployment,
        versions: Sequence[ComponentVersion],
        if_match: int | None = None,
    ) -> Stored[Deployment]:
        """Make a deployment reachable; equal content under its name changes nothing.

        The component versions are written first and the deployment last, so a deploy that breaks
        off leaves no deployment that lacks a part.

        Args:
            deployment: What is wanted; its time of creation is set here.
            versions: Those of its components that the platform may not know yet.
            if_match: What the writer has seen, see ``check_match``.

        Raises:
            InvalidRequest: A name or hash is not valid, or a version belongs elsewhere.
            Immutable: Other content under the name of a versioned deployment, or another app.
            ProblemsFound: A bundle or component is missing, or the graph makes no sense.
            RevisionConflict: Somebody else deployed under this name meanwhile.
        """
        check_deployment(deployment, versions)
        found = await self._found(deployment, if_match)
        if found is not None and _is_served_by(found.object, deployment):
            return found
        known = await self._known(deployment, versions)
        await self._check(deployment, known)
        for version in versions:
            if self._held(version) is None:
                await self._turn.write(_key(version), version, None)
        created_at_s = found.object.created_at_s if found else self._now()
        record = msgspec.structs.replace(deployment, created_at_s=created_at_s)
        return await self._turn.write(deployment_key(deployment.name), record, found)

    @in_turn
    async def undeploy(self, name: str, if_match: int | None = None) -> None:
        """Take a deployment away; its component versions and bundles stay until they are pruned.

        Args:
            name: Its name.
            if_match: What the writer has seen, see ``check_match``.

        Raises:
            DeploymentNotFound: There is none of this name.
            Immutable: A release that is active or pending names it.
            RevisionConflict: Somebody else wrote meanwhile.
        """
        found = await load(self._store, deployment_key(name), Deployment)
        if found is None:
            raise DeploymentNotFound(f"there is no deployment {name}")
        check_match(deployment_key(name), found, if_match)
        users = self._released_in(name)
        if users:
            raise Immutable(
                f"deployment {name} is released in virtual environment "
                f"{', '.join(users)}: release another one there first, "
                "or none with `fox release --none`"
            )
        await self._turn.delete(deployment_key(name))

    async def _found(
        self, deployment: Deployment, if_match: int | None
    ) -> Stored[Deployment] | None:
        key = deployment_key(deployment.name)
        found = await load(self._store, key, Deployment)
        check_match(key, found, if_match)
        if found is not None:
            _check_replaceable(found.object, deployment)
        return found

    async def _known(
        self, deployment: Deployment, versions: Sequence[ComponentVersion]
    ) -> dict[str, ComponentVersion]:
        """Return the component versions by name; what is stored wins over what was sent."""
        known = {version.name: version for version in versions}
        for name, digest in deployment.components.items():
            held = self._store.snapshot.component(deployment.app, name, digest)
            if held is not None:
                known[name] = held
        return known

    async def _check(self, deployment: Deployment, known: Mapping[str, ComponentVersion]) -> None:
        definitions = {name: version.definition for name, version in known.items()}
        missing = await self._bundles.claim(deployment.components.values())
        problems = [
            *_missing_bundles(deployment, missing),
            *schedule_problems(definitions, self._check_schedule),
            *deployment_problems(deployment, definitions, self._adapters),
        ]
        for found in outages_by_code(deployment, definitions, self._store.snapshot):
            problems += found
            await asyncio.sleep(0)
        if problems:
            raise ProblemsFound(f"deployment {deployment.name} cannot be deployed", tuple(problems))

    def _held(self, version: ComponentVersion) -> ComponentVersion | None:
        return self._store.snapshot.component(version.app, version.name, version.hash)

    def _released_in(self, name: str) -> list[str]:
        return [
            virtual_environment
            for virtual_environment, state in sorted(self._store.snapshot.releases.items())
            if name in deployments_in_use(state)
        ]


def _content(deployment: Deployment) -> tuple[object, ...]:
    return deployment.app, deployment.components, deployment.version


def _is_served_by(current: Deployment, wanted: Deployment) -> bool:
    """Return whether nothing needs writing: of an immutable one only the content counts."""
    if current.is_immutable:
        return _content(current) == _content(wanted)
    return current == msgspec.structs.replace(wanted, created_at_s=current.created_at_s)


def _check_replaceable(current: Deployment, wanted: Deployment) -> None:
    if current.app != wanted.app:
        raise Immutable(
            f"deployment {current.name} belongs to app {current.app}, not to {wanted.app}"
        )
    if current.is_immutable and _content(current) != _content(wanted):
        raise Immutable(
            f"deployment {current.name} has version {current.version} and cannot change: "
            "deploy under another name"
        )


def _missing_bundles(deployment: Deployment, missing: frozenset[str]) -> list[Problem]:
    return [
        Problem(
            type="BundleNotFound",
            message=f"the code of {name}@{digest} was not uploaded",
            path=f"components.{name}",
        )
        for name, digest in sorted(deployment.components.items())
        if digest in missing
    ]


def _key(version: ComponentVersion) -> str:
    return component_key(version.app, version.name, version.hash)
