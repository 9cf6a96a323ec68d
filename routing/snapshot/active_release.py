"""The active release of a virtual environment, with all that routing reads of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from sys import intern

import msgspec

from kubefox import records as keys
from kubefox.component import Value
from kubefox.context import EventContext
from kubefox.deployment import Deployment
from kubefox.environment import Environment, VirtualEnvironment
from kubefox.release import Release, ReleaseManifest, ReleaseState
from routing.language.template import Layers
from routing.snapshot.content_rules import ContentResolver
from routing.snapshot.packed_records import RecordEntry, SharedContent
from routing.snapshot.records import Records
from routing.snapshot.route_binding import RouteBinding
from routing.table.priority import Recency
from routing.table.rule_set import RuleSet

DependencyKey = str | tuple[str, str]
"""A KV key; or an environment's key and the name of one of its variables."""


class Released:
    """An app that a virtual environment has released: an entry of the release index.

    The object stays the same while the app is released, so a plain URL finds its route binding in
    the memo, without a look-up by names.

    Args:
        virtual_environment: Name of the virtual environment.
        app: Name of the app.

    Attributes:
        virtual_environment: Name of the virtual environment.
        app: Name of the app.
        memo: That of ``routing.snapshot.route_bindings``; see ``routing.memo``. None while empty.
    """

    __slots__ = ("app", "memo", "virtual_environment")

    def __init__(self, virtual_environment: str, app: str) -> None:
        self.virtual_environment = virtual_environment
        self.app = app
        self.memo: RouteBinding | None = None

    def __repr__(self) -> str:
        return f"Released({self.virtual_environment!r}, {self.app!r})"


class ActiveApp(msgspec.Struct, frozen=True):
    """One app of an active release.

    Attributes:
        released: Its entry of the release index.
        source: The record of the deployment; or the manifest, which freezes it.
        content: The deployment's components.
        rules: Rules of its components.
        has_schedules: Whether one of its components declares a schedule.
    """

    released: Released
    source: RecordEntry[Deployment] | RecordEntry[ReleaseManifest]
    content: SharedContent
    rules: RuleSet
    has_schedules: bool = False

    @property
    def deployment(self) -> Deployment:
        """As frozen in the manifest, or the live one; decoded anew each time."""
        record = self.source.record
        return record if isinstance(record, Deployment) else record.deployments[self.released.app]


class ActiveRelease(msgspec.Struct, frozen=True, kw_only=True):
    """An active release with the records that routing needs, which are decoded when they are read.

    Attributes:
        state: The record of the release.
        active_apps: The apps that can be routed to.
        virtual: The record of the virtual environment; None with a manifest.
        manifest: The record of the manifest, None without one.
        environment: Name of the environment whose values are live, None with a manifest.
        inherited: Variables of the environment. Those that rules use are current; others have the
            value of the time when this object was made.
        missing: KV keys of records that it needs and that the snapshot lacks.
        removals: ``Records.removals`` at the time. While that number stays the same, a complete app
            stays complete.
    """

    state: RecordEntry[ReleaseState]
    active_apps: tuple[ActiveApp, ...] = ()
    virtual: RecordEntry[VirtualEnvironment] | None = None
    manifest: RecordEntry[ReleaseManifest] | None = None
    environment: str | None = None
    inherited: Mapping[str, Value] = {}
    missing: tuple[str, ...] = ()
    removals: int = 0

    @property
    def release(self) -> Release:
        """The release."""
        active = self.state.record.active
        assert active is not None  # noqa: S101 - else this object would not exist
        return active

    @property
    def virtual_environment(self) -> str:
        """Name of the virtual environment."""
        return self.state.record.virtual_environment

    @property
    def apps(self) -> dict[str, ActiveApp]:
        """The apps that can be routed to, by name."""
        return {app.released.app: app for app in self.active_apps}

    def app(self, released: Released) -> ActiveApp:
        """Return one of ``active_apps``, by its entry of the release index."""
        for app in self.active_apps:
            if app.released is released:
                return app
        raise KeyError(released)

    @property
    def layers(self) -> Layers:
        """Variables, highest precedence first."""
        if self.manifest is not None:
            return (self.manifest.record.data.vars,)
        return () if self.virtual is None else (self.virtual.fields.data.vars, self.inherited)

    @property
    def recency(self) -> Recency:
        """Time of its activation, then its id."""
        release = self.release
        return release.activated_at_s or 0, release.id

    @property
    def depends_on(self) -> Set[DependencyKey]:
        """The records and variables of which a change makes this object out of date.

        Its own key and its manifest's are not among them.
        """
        if self.virtual is None or self.environment is None:
            return set(self.missing)
        environment_key = keys.environment_key(self.environment)
        found: set[DependencyKey] = {environment_key, *self.missing}
        own, active = self.virtual.fields.data.vars, self.state.fields.active
        for app in self.active_apps:
            for variable in app.rules.variables:
                if variable not in own:
                    found.add((environment_key, variable))
        for released in active.apps.values() if active is not None else ():
            found.add(keys.deployment_key(released.deployment))
        return found

    def live_environment(self, records: Records) -> RecordEntry[Environment] | None:
        """Return the current environment, or None with a manifest."""
        return None if self.environment is None else records.environments[self.environment]

    def context(self, app: ActiveApp, environment_revision: int) -> EventContext:
        """Return the context of events that plain URLs send to an app.

        Args:
            app: One of ``active_apps``.
            environment_revision: KV revision of ``live_environment``, 0 with a manifest.
        """
        release, is_live, virtual = self.release, self.manifest is None, self.virtual
        return EventContext(
            app=app.content.app,
            deployment=app.deployment.name,
            virtual_environment=app.released.virtual_environment,
            release=release.id,
            manifest=release.manifest or "",
            deployment_revision=app.source.revision if is_live else 0,
            virtual_environment_revision=0 if virtual is None else virtual.revision,
            environment_revision=environment_revision,
        )


def active_release(
    name: str, contents: ContentResolver, before: ActiveRelease | None = None
) -> ActiveRelease | None:
    """Return the active release of a virtual environment, or None if it has none.

    An app that needs a missing record is left out, and ``missing`` names the record.

    Args:
        name: Name of the virtual environment.
        contents: Resolves the contents of deployments, in the records to use.
        before: The result for earlier records; unchanged apps are taken over from it.
    """
    records = contents.records
    state = records.releases.get(name)
    release = None if state is None else state.fields.active
    if state is None or release is None:
        return None
    virtual = records.virtual_environments.get(name)
    if virtual is None:
        return ActiveRelease(state=state, missing=(keys.virtual_environment_key(name),))
    if release.manifest is not None:
        return _of_manifest(name, state, release.manifest, contents, before)
    return _live(name, state, release, virtual, contents, before)


def _of_manifest(
    name: str,
    state: RecordEntry[ReleaseState],
    manifest_id: str,
    contents: ContentResolver,
    before: ActiveRelease | None,
) -> ActiveRelease:
    records = contents.records
    manifest = records.manifests.get(f"{name}.{manifest_id}")
    if manifest is None:
        return ActiveRelease(state=state, missing=(keys.manifest_key(name, manifest_id),))
    shared: Sequence[SharedContent] = manifest.shared
    sources = {
        app: (manifest, content)
        for app, content in zip(manifest.record.deployments, shared, strict=True)
    }
    apps, missing = _apps(name, sources, contents, before)
    return ActiveRelease(
        state=state,
        active_apps=apps,
        manifest=manifest,
        missing=missing,
        removals=records.removals,
    )


def _live(
    name: str,
    state: RecordEntry[ReleaseState],
    release: Release,
    virtual: RecordEntry[VirtualEnvironment],
    contents: ContentResolver,
    before: ActiveRelease | None,
) -> ActiveRelease:
    records = contents.records
    environment_name = intern(virtual.fields.environment)
    environment = records.environments.get(environment_name)
    if environment is None:
        return ActiveRelease(state=state, missing=(keys.environment_key(environment_name),))
    sources, gone = {}, []
    for app, released in release.apps.items():
        entry = records.deployments.get(released.deployment)
        if entry is None:
            gone.append(keys.deployment_key(released.deployment))
        else:
            sources[app] = (entry, entry.shared)
    apps, missing = _apps(name, sources, contents, before)
    return ActiveRelease(
        state=state,
        active_apps=apps,
        virtual=virtual,
        environment=environment_name,
        inherited=environment.record.data.vars,
        missing=(*gone, *missing),
        removals=records.removals,
    )


Sources = Mapping[str, tuple[RecordEntry[Deployment] | RecordEntry[ReleaseManifest], SharedContent]]


def _apps(
    name: str, sources: Sources, contents: ContentResolver, before: ActiveRelease | None
) -> tuple[tuple[ActiveApp, ...], tuple[str, ...]]:
    known = before.apps if before else {}
    kept = known if before and before.removals == contents.records.removals else {}
    apps: list[ActiveApp] = []
    missing: list[str] = []
    for app, (source, content) in sources.items():
        same = kept.get(app)
        if same and same.source is source:
            apps.append(same)
            continue
        rules, has_schedules, absent = contents.rules(content)
        missing += absent
        if rules is not None:
            released = known[app].released if app in known else Released(name, intern(app))
            apps.append(ActiveApp(released, source, content, rules, has_schedules))
    return tuple(apps), tuple(missing)
