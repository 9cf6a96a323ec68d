"""An estate: many deployments, as changes of a KV bucket. Equal sizes give equal estates.

A thousand virtual environments share one environment and each sets its own ``subPath``. There is
one app for every thousand deployments, with ten routes over two of its three components, three
versions of each. Every virtual environment releases one deployment of every app, live, so at
100,000 deployments the index of plain URLs is over 100,000 released apps: a million routes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from kubefox.component import ComponentDefinition, ComponentVersion, Route
from kubefox.deployment import Deployment, SourceRef
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.records import (
    Change,
    Record,
    component_key,
    deployment_key,
    environment_key,
    release_key,
    virtual_environment_key,
)
from kubefox.release import Release, ReleasedApp, ReleaseState
from routing.request import GenesisRequest
from routing.selectors import Selectors, extract

VIRTUAL_ENVIRONMENTS = 1_000
DEPLOYMENTS_PER_APP = 1_000
VERSIONS = 3
ROUTES = (
    ("web-ui", "Path(`{p}`)"),
    ("web-ui", "PathPrefix(`{p}/static`)"),
    ("web-ui", "Path(`{p}/files/{{path...}}`)"),
    ("web-ui", "Path(`{p}/search`) && Query(`kind`, `open`)"),
    ("api-server", "Path(`{p}/orders`) && Method(`GET`)"),
    ("api-server", "Path(`{p}/orders`) && Method(`POST`)"),
    ("api-server", "Path(`{p}/orders/{{id}}`)"),
    ("api-server", "Path(`{p}/orders/{{id:[0-9]+}}/items`)"),
    ("api-server", "Path(`{p}/customers/{{id}}`) && Method(`GET`)"),
    ("api-server", "Path(`{p}/customers/{{id}}`) && Method(`DELETE`)"),
)
HITS = (
    ("GET", "", ""),
    ("GET", "/static/css/site.css", ""),
    ("GET", "/files/a/b.txt", ""),
    ("GET", "/search", "kind=open"),
    ("GET", "/orders", "page=2"),
    ("POST", "/orders", ""),
    ("GET", "/orders/1234", ""),
    ("GET", "/orders/1234/items", ""),
    ("GET", "/customers/77", ""),
    ("DELETE", "/customers/77", ""),
)
MISSES = (
    ("GET", "/nothing/here", ""),
    ("PUT", "/customers/77", ""),
    ("GET", "/orders/x/items", ""),
)

Question = tuple[GenesisRequest, Selectors]


class Estate:
    """The records of one size, and requests to route by them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.apps = max(1, size // DEPLOYMENTS_PER_APP)
        self._choose = random.Random(size)
        self._revision = 0

    def changes(self) -> Iterator[Change]:
        """Yield every change, in the order in which the control plane would write it."""
        yield from self.before_deployments()
        yield from self.deployments()
        yield from self.releases()

    def before_deployments(self) -> Iterator[Change]:
        """Yield environments and component versions."""
        yield self.environment("hello")
        for number in range(VIRTUAL_ENVIRONMENTS):
            yield self.virtual_environment(number, f"team-{number}")
        for app in range(self.apps):
            for name in ("web-ui", "api-server", "worker"):
                for version in range(VERSIONS):
                    yield self._component(app, name, version)

    def deployments(self) -> Iterator[Change]:
        """Yield all deployments."""
        for number in range(self.size):
            yield self.deployment(number)

    def releases(self) -> Iterator[Change]:
        """Yield one release for each virtual environment."""
        for number in range(VIRTUAL_ENVIRONMENTS):
            yield self.release(number)

    def environment(self, greeting: str) -> Change:
        """Return a change of the environment that all virtual environments share."""
        values = {f"unused{number}": "x" for number in range(20)} | {"greeting": greeting}
        record = Environment(name="dev", data=EnvironmentData(vars=dict(values)))
        return self._change(environment_key("dev"), record)

    def virtual_environment(self, number: int, sub_path: str) -> Change:
        """Return a change of one virtual environment."""
        name = f"team-{number}"
        data = EnvironmentData(vars={"subPath": sub_path})
        record = VirtualEnvironment(name=name, environment="dev", data=data)
        return self._change(virtual_environment_key(name), record)

    def deployment(self, number: int) -> Change:
        """Return a deployment of random versions of its app's components."""
        app = number % self.apps
        record = Deployment(
            name=self._name(number),
            app=f"app-{app}",
            components={
                name: _digest(app, name, self._choose.randrange(VERSIONS))
                for name in ("web-ui", "api-server", "worker")
            },
            title=f"App {app}",
            source=SourceRef(commit=_commit(number), branch="main"),
            created_at_s=1_700_000_000.0 + number,
        )
        return self._change(deployment_key(record.name), record)

    def release(self, number: int) -> Change:
        """Return a release of one random deployment of every app."""
        name = f"team-{number}"
        apps = {
            f"app-{app}": ReleasedApp(deployment=self._name(self._any_of(app)))
            for app in range(self.apps)
        }
        active = Release(
            id=f"r{self._revision}",
            apps=apps,
            manifest=None,
            requested_at_s=self._revision,
            activated_at_s=self._revision,
        )
        record = ReleaseState(virtual_environment=name, active=active)
        return self._change(release_key(name), record)

    def questions(self, count: int, *, explicit: bool, hits: bool) -> list[Question]:
        """Return requests to random apps in random environments, explicit or plain."""
        return [self._question(explicit=explicit, hits=hits) for _ in range(count)]

    def _question(self, *, explicit: bool, hits: bool) -> Question:
        number = self._choose.randrange(self.size)
        team = self._choose.randrange(VIRTUAL_ENVIRONMENTS)
        method, path, query = self._choose.choice(HITS if hits else MISSES)
        if explicit:
            query = f"{query}&kf-dep={self._name(number)}&kf-ve=team-{team}"
        selectors, query, _ = extract(query, ())
        path = f"/team-{team}/app-{number % self.apps}{path}"
        headers = (("host", "example.com"), ("accept", "*/*"))
        request = GenesisRequest(
            host="example.com", method=method, path=path, query=query, headers=headers
        )
        return request, selectors

    def _component(self, app: int, name: str, version: int) -> Change:
        prefix = f"/{{{{.Vars.subPath}}}}/app-{app}"
        rules = [rule.format(p=prefix) for owner, rule in ROUTES if owner == name]
        routes = tuple(Route(id=number, rule=rule) for number, rule in enumerate(rules))
        digest = _digest(app, name, version)
        definition = ComponentDefinition(name=name, routes=routes)
        record = ComponentVersion(app=f"app-{app}", hash=digest, definition=definition)
        return self._change(component_key(f"app-{app}", name, digest), record)

    def _any_of(self, app: int) -> int:
        return self._choose.randrange(self.size // self.apps) * self.apps + app

    def _name(self, number: int) -> str:
        return f"app-{number % self.apps}-v{number // self.apps}"

    def _change(self, key: str, record: Record) -> Change:
        self._revision += 1
        # Decoded from JSON, as by a watcher, so that records share no objects.
        copy = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
        return Change(key=key, revision=self._revision, record=copy)


def _digest(app: int, name: str, version: int) -> str:
    return f"{app:08x}{version:08x}{name.encode().hex()}".ljust(32, "0")[:32]


def _commit(number: int) -> str:
    # The first digits differ, as those of Git do.
    return f"{number:07x}".ljust(40, "0")
