"""A control plane in a list: records get the next revision, as a KV bucket gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from model.component import (
    ComponentDefinition,
    ComponentVersion,
    Dependency,
    Route,
    Schedule,
    Value,
    Variable,
)
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, VirtualEnvironment
from model.records import (
    Change,
    Record,
    component_key,
    deployment_key,
    environment_key,
    manifest_key,
    release_key,
    virtual_environment_key,
)
from model.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from routing.request import GenesisRequest
from routing.resolver import Decision, resolve
from routing.selectors import extract
from routing.snapshot import Snapshot

APP = "order-app"


def digest_of(name: str, version: str = "1") -> str:
    """Return a hash that tells in tests whose it is."""
    return f"{name}{version}".encode().hex().ljust(32, "0")[:32]


def definition(
    name: str,
    *rules: str | Route,
    variables: Iterable[Variable] = (),
    dependencies: Iterable[Dependency] = (),
    schedules: Iterable[Schedule] = (),
    default: bool = False,
) -> ComponentDefinition:
    """Return a component's definition with its rules numbered."""
    return ComponentDefinition(
        name=name,
        routes=tuple(
            rule if isinstance(rule, Route) else Route(id=at, rule=rule)
            for at, rule in enumerate(rules)
        ),
        variables=tuple(variables),
        dependencies=tuple(dependencies),
        schedules=tuple(schedules),
        has_default_handler=default,
    )


UI = definition("order-ui", "Path(`/{{.Vars.subPath}}/orders/{id}`)", "PathPrefix(`/static`)")


class World:
    """Writes records and keeps a snapshot that follows them."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.changes: list[Change] = []
        self.snapshot = Snapshot.empty()

    def put(self, key: str, record: Record | None) -> None:
        """Write one record, or delete it."""
        change = Change(key=key, revision=len(self.changes) + 1, record=record)
        self.changes.append(change)
        self.snapshot = self.snapshot.apply([change])

    def component(self, found: ComponentDefinition, version: str = "1", app: str = APP) -> str:
        """Write a component version and return its hash."""
        digest = digest_of(found.name, version)
        record = ComponentVersion(app=app, hash=digest, definition=found)
        self.put(component_key(app, found.name, digest), record)
        return digest

    def deploy(
        self, name: str, *components: ComponentDefinition, version: str = "1", app: str = APP
    ) -> Deployment:
        """Write components and a deployment of them."""
        hashes = {each.name: self.component(each, version, app) for each in components}
        deployment = Deployment(name=name, app=app, components=hashes)
        self.put(deployment_key(name), deployment)
        return deployment

    def environment(self, name: str = "dev", **variables: Value) -> None:
        """Write an environment."""
        record = Environment(name=name, data=EnvironmentData(vars=dict(variables)))
        self.put(environment_key(name), record)

    def virtual(self, name: str, environment: str = "dev", **variables: Value) -> None:
        """Write a virtual environment."""
        data = EnvironmentData(vars=dict(variables))
        record = VirtualEnvironment(name=name, environment=environment, data=data)
        self.put(virtual_environment_key(name), record)

    def release(
        self, virtual: str, *deployments: str, release_id: str = "r1", at_s: float = 0
    ) -> None:
        """Activate a live release (policy Testing) of deployments."""
        found = [self.snapshot.deployments[name] for name in deployments]
        apps = {each.app: ReleasedApp(deployment=each.name) for each in found}
        self._activate(
            virtual,
            Release(
                id=release_id,
                apps=apps,
                manifest=None,
                requested_at_s=at_s,
                activated_at_s=at_s or len(self.changes),
            ),
        )

    def freeze(
        self,
        virtual: str,
        *deployments: str,
        release_id: str = "r1",
        variables: Mapping[str, Value] | None = None,
    ) -> None:
        """Activate a release with a manifest (policy Stable)."""
        found = {
            each.app: each for each in (self.snapshot.deployments[name] for name in deployments)
        }
        manifest = ReleaseManifest(
            id=release_id,
            virtual_environment=virtual,
            deployments=found,
            data=EnvironmentData(vars=dict(variables or {})),
        )
        self.put(manifest_key(virtual, release_id), manifest)
        apps = {app: ReleasedApp(deployment=each.name) for app, each in found.items()}
        at_s = len(self.changes)
        self._activate(
            virtual,
            Release(
                id=release_id,
                apps=apps,
                manifest=release_id,
                requested_at_s=at_s,
                activated_at_s=at_s,
            ),
        )

    def ask(self, url: str, method: str = "GET", **headers: str) -> Decision:
        """Resolve a URL without scheme and host, its selectors included."""
        return ask(self.snapshot, url, method, **headers)

    def _activate(self, virtual: str, release: Release) -> None:
        state = ReleaseState(virtual_environment=virtual, active=release)
        self.put(release_key(virtual), state)


def ask(snapshot: Snapshot, url: str, method: str = "GET", **headers: str) -> Decision:
    """Resolve a URL without scheme and host, its selectors included."""
    path, _, query = url.partition("?")
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    selectors, query, rest = extract(query, named)
    host = headers.get("host", "example.com")
    request = GenesisRequest(host=host, method=method, path=path, query=query, headers=rest)
    return resolve(request, selectors, snapshot)
