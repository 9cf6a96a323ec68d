"""A control plane in memory: every record gets the next revision, as in a KV bucket."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubefox.component import (
    ComponentDefinition,
    Dependency,
    Route,
    Schedule,
    Value,
    Variable,
)
from kubefox.deployment import Deployment
from kubefox.environment import Environment, EnvironmentData
from kubefox.records import Change, Record, environment_key, manifest_key
from kubefox.release import ReleaseManifest
from kubefox.steps import finish
from routing.request import GenesisRequest
from routing.resolver import Decision, resolve_in_steps
from routing.selectors import extract
from routing.snapshot.snapshot import Snapshot
from tests.support import records

APP = "order-app"


def digest_of(name: str, version: str = "1") -> str:
    """Return a hash from which a failed test shows the component."""
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


class RoutingWorld:
    """Records and the snapshot that follows them."""

    def __init__(self) -> None:
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
        self.put(*records.component(app, found, digest))
        return digest

    def deploy(
        self, name: str, *components: ComponentDefinition, version: str = "1", app: str = APP
    ) -> Deployment:
        """Write components and a deployment of them."""
        hashes = {
            component.name: self.component(component, version, app) for component in components
        }
        key, deployment = records.deployment(name, app, hashes)
        self.put(key, deployment)
        return deployment

    def environment(self, name: str = "dev", **variables: Value) -> None:
        """Write an environment."""
        record = Environment(name=name, data=EnvironmentData(vars=dict(variables)))
        self.put(environment_key(name), record)

    def virtual(self, name: str, environment: str = "dev", **variables: Value) -> None:
        """Write a virtual environment."""
        self.put(*records.virtual_environment(name, variables, environment))

    def release(
        self, virtual: str, *deployments: str, release_id: str = "r1", at_s: float = 0
    ) -> None:
        """Activate a live release (policy Testing) of deployments."""
        state = records.active_release(
            virtual,
            {self.snapshot.deployments[name].app: name for name in deployments},
            release_id=release_id,
            requested_at_s=at_s,
            activated_at_s=at_s or len(self.changes),
        )
        self.put(*state)

    def freeze(
        self,
        virtual: str,
        *deployments: str,
        release_id: str = "r1",
        variables: Mapping[str, Value] | None = None,
    ) -> None:
        """Activate a release with a manifest (policy Stable)."""
        found = {
            self.snapshot.deployments[name].app: self.snapshot.deployments[name]
            for name in deployments
        }
        manifest = ReleaseManifest(
            id=release_id,
            virtual_environment=virtual,
            deployments=found,
            data=EnvironmentData(vars=dict(variables or {})),
        )
        self.put(manifest_key(virtual, release_id), manifest)
        at_s = len(self.changes)
        state = records.active_release(
            virtual,
            {app: deployment.name for app, deployment in found.items()},
            release_id=release_id,
            manifest=release_id,
            requested_at_s=at_s,
            activated_at_s=at_s,
        )
        self.put(*state)

    def ask(self, url: str, method: str = "GET", **headers: str) -> Decision:
        """Resolve a URL without scheme and host, its selectors included."""
        return ask(self.snapshot, url, method, **headers)


def ask(snapshot: Snapshot, url: str, method: str = "GET", **headers: str) -> Decision:
    """Resolve a URL without scheme and host, its selectors included."""
    path, _, query = url.partition("?")
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    selectors, query, rest = extract(query, named)
    host = headers.get("host", "example.com")
    request = GenesisRequest(host=host, method=method, path=path, query=query, headers=rest)
    return finish(resolve_in_steps(request, selectors, snapshot))
