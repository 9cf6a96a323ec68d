"""What plain URLs mean in one virtual environment: its active release, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from model import records as keys
from model.component import ComponentDefinition
from model.context import EventContext
from model.deployment import Deployment
from model.environment import Environment
from model.release import Release
from routing.records import Entry, Records
from routing.ruleset import RuleSet, rule_set
from routing.template import Layers

Dependency = str | tuple[str, str]
"""A KV key; or the key of an environment and the name of one of its variables."""


class Released:
    """An app that a virtual environment has released: what the index of plain URLs holds.

    It is the same object for as long as the app is released, whatever of it changes. What a plain
    URL leads to is read from it, without a look-up by names.

    Args:
        virtual_environment: Its name.
        app: Its name.

    Attributes:
        virtual_environment: As it was given.
        app: As it was given.
        binding: What ``routing.bindings`` keeps here; None is nothing yet, or no more.
    """

    __slots__ = ("app", "binding", "virtual_environment")

    def __init__(self, virtual_environment: str, app: str) -> None:
        """Name it."""
        self.virtual_environment = virtual_environment
        self.app = app
        self.binding: Any = None

    def __repr__(self) -> str:
        """Say what it stands for."""
        return f"Released({self.virtual_environment!r}, {self.app!r})"


class ActiveApp(msgspec.Struct, frozen=True):
    """One app of an active release.

    Attributes:
        released: What the index holds of it.
        deployment: As frozen in the manifest, or as it is now.
        revision: KV revision of a live deployment, 0 with a manifest.
        rules: Of its components.
        has_schedules: Whether one of its components declares any.
    """

    released: Released
    deployment: Deployment
    revision: int
    rules: RuleSet
    has_schedules: bool = False


class ActiveRelease(msgspec.Struct, frozen=True, kw_only=True):
    """An active release with everything that routing needs of it.

    Attributes:
        virtual_environment: Its name.
        release: The release.
        apps: By app name; those that can be routed to.
        layers: Variables, highest precedence first. Those that rules use are always right; others
            are as they were when this was put together.
        virtual_environment_revision: 0 with a manifest.
        environment: Name of the environment whose values are live, None with a manifest.
        depends_on: What, besides its own key and its manifest's, changes the above.
        missing: KV keys of records it needs that are not there.
        removals: ``Records.removals`` at the time: until that changes, an app that is complete
            stays so.
    """

    virtual_environment: str
    release: Release
    apps: dict[str, ActiveApp]
    layers: Layers
    virtual_environment_revision: int = 0
    environment: str | None = None
    depends_on: frozenset[Dependency] = frozenset()
    missing: tuple[str, ...] = ()
    removals: int = 0

    @property
    def recency(self) -> tuple[float, str]:
        """When it became active: between routes that tie, the later release wins."""
        return self.release.activated_at_s or 0, self.release.id

    def live_environment(self, records: Records) -> Entry[Environment] | None:
        """Return the environment as it is now, None with a manifest."""
        return None if self.environment is None else records.environments[self.environment]

    def context(self, app: str, environment_revision: int) -> EventContext:
        """Return the context of events that this release sends to an app.

        Args:
            app: One of ``apps``.
            environment_revision: Of ``live_environment``, 0 with a manifest.
        """
        active = self.apps[app]
        return EventContext(
            app=active.deployment.app,
            deployment=active.deployment.name,
            virtual_environment=self.virtual_environment,
            release=self.release.id,
            manifest=self.release.manifest or "",
            deployment_revision=active.revision,
            virtual_environment_revision=self.virtual_environment_revision,
            environment_revision=environment_revision,
        )


def active_release(
    name: str, records: Records, before: ActiveRelease | None = None
) -> ActiveRelease | None:
    """Return the active release of a virtual environment, or None if it has none.

    Whatever it lacks is named in ``missing``, and the apps that need it are left out.

    Args:
        name: Of the virtual environment.
        records: All records.
        before: What this returned for earlier records; apps that did not change are kept.
    """
    state = records.releases.get(name)
    if state is None or state.record.active is None:
        return None
    release = state.record.active
    if name not in records.virtual_environments:
        return _nothing(name, release, keys.virtual_environment_key(name))
    if release.manifest is not None:
        return _frozen(name, release, release.manifest, records, before)
    return _live(name, release, records, before)


def definitions_of(
    deployment: Deployment, records: Records
) -> tuple[dict[str, ComponentDefinition], tuple[str, ...]]:
    """Return the definitions of a deployment's components, and the keys of those not there."""
    found, missing = {}, []
    for name, digest in deployment.components.items():
        version = records.component(deployment.app, name, digest)
        if version is None:
            missing.append(keys.component_key(deployment.app, name, digest))
        else:
            found[name] = version.definition
    return found, tuple(missing)


def component_keys(deployment: Deployment) -> Iterator[str]:
    """Return the keys of all component versions that a deployment is made of."""
    for name, digest in deployment.components.items():
        yield keys.component_key(deployment.app, name, digest)


def _nothing(name: str, release: Release, missing: str) -> ActiveRelease:
    return ActiveRelease(
        virtual_environment=name,
        release=release,
        apps={},
        layers=(),
        depends_on=frozenset({missing}),
        missing=(missing,),
    )


def _frozen(
    name: str, release: Release, manifest_id: str, records: Records, before: ActiveRelease | None
) -> ActiveRelease:
    manifest = records.manifest(name, manifest_id)
    if manifest is None:
        return _nothing(name, release, keys.manifest_key(name, manifest_id))
    live = {app: (deployment, 0) for app, deployment in manifest.deployments.items()}
    apps, missing = _apps(name, live, records, before)
    return ActiveRelease(
        virtual_environment=name,
        release=release,
        apps=apps,
        layers=(manifest.data.vars,),
        depends_on=frozenset(missing),
        missing=missing,
        removals=records.removals,
    )


def _live(
    name: str, release: Release, records: Records, before: ActiveRelease | None
) -> ActiveRelease:
    virtual = records.virtual_environments[name]
    environment_key = keys.environment_key(virtual.record.environment)
    environment = records.environments.get(virtual.record.environment)
    if environment is None:
        return _nothing(name, release, environment_key)
    deployments = {app: each.deployment for app, each in release.apps.items()}
    found = {
        app: (entry.record, entry.revision)
        for app, deployment in deployments.items()
        if (entry := records.deployments.get(deployment)) is not None
    }
    apps, missing = _apps(name, found, records, before)
    needed = {app: keys.deployment_key(deployment) for app, deployment in deployments.items()}
    gone = tuple(key for app, key in needed.items() if app not in found)
    inherited = _used(apps) - virtual.record.data.vars.keys()
    return ActiveRelease(
        virtual_environment=name,
        release=release,
        apps=apps,
        layers=(virtual.record.data.vars, environment.record.data.vars),
        virtual_environment_revision=virtual.revision,
        environment=virtual.record.environment,
        depends_on=frozenset(
            {
                environment_key,
                *((environment_key, variable) for variable in inherited),
                *needed.values(),
                *missing,
            }
        ),
        missing=(*gone, *missing),
        removals=records.removals,
    )


def _used(apps: Mapping[str, ActiveApp]) -> frozenset[str]:
    """Return the names of all variables that rules use."""
    return frozenset().union(*{app.rules.variables for app in apps.values()})


def _apps(
    name: str,
    deployments: dict[str, tuple[Deployment, int]],
    records: Records,
    before: ActiveRelease | None,
) -> tuple[dict[str, ActiveApp], tuple[str, ...]]:
    known = before.apps if before else {}
    kept = known if before and before.removals == records.removals else {}
    apps: dict[str, ActiveApp] = {}
    missing: list[str] = []
    for app, (deployment, revision) in deployments.items():
        same = kept.get(app)
        if same and same.deployment is deployment and same.revision == revision:
            apps[app] = same
            continue
        definitions, absent = definitions_of(deployment, records)
        missing += absent
        if not absent:
            rules = rule_set(definitions.values())
            has_schedules = any(each.schedules for each in definitions.values())
            released = known[app].released if app in known else Released(name, app)
            apps[app] = ActiveApp(released, deployment, revision, rules, has_schedules)
    return apps, tuple(missing)
