"""The components and variables that a virtual environment or a rollout uses, from one snapshot.

``routing.snapshot.usage_index`` keeps the reverse of it: who uses a thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from kubefox.component import ComponentDefinition
from kubefox.distill import Version, versions_in_use
from kubefox.release import Release, deployments_in_use
from routing.bounded_cache import BoundedCache
from routing.language.rule import RuleError
from routing.snapshot.packed_records import RecordEntry, SharedContent
from routing.snapshot.snapshot import Snapshot
from routing.table.compiled_rule import compile_rule

Kind = TypeVar("Kind")

UseKey = tuple[str, ...]
"""A thing that is used: its kind, then its names. The functions below make it."""

PENDING: UseKey = ("pending",)
"""Is "used" by each virtual environment whose release is pending."""


def deployment_use(name: str) -> UseKey:
    """An active or pending release names a deployment."""
    return "deployment", name


def environment_use(name: str) -> UseKey:
    """A virtual environment belongs to an environment."""
    return "environment", name


def own_variable_use(environment: str, variable: str) -> UseKey:
    """A virtual environment of an environment sets a variable itself."""
    return "own", environment, variable


def inherited_variable_use(environment: str, variable: str) -> UseKey:
    """An active live release needs a variable that only the environment can set."""
    return "inherited", environment, variable


def awaited_use(version: Version) -> UseKey:
    """A pending release has a component version."""
    return "awaited", *version


def rolling_use(version: Version) -> UseKey:
    """A rollout that is rolling has a component version."""
    return "rolling", *version


class VirtualEnvironmentUse(NamedTuple):
    """The components, deployments and variables that one virtual environment uses.

    Attributes:
        keys: The things that it uses.
        environment: Name of its environment; empty if it does not exist.
        apps: Apps of its active and its pending release.
        frozen: Versions in the manifests of its active and its pending release.
        released: Versions of its active release, frozen or as they are now.
    """

    keys: frozenset[UseKey] = frozenset()
    environment: str = ""
    apps: frozenset[str] = frozenset()
    frozen: frozenset[Version] = frozenset()
    released: frozenset[Version] = frozenset()


NO_USE = VirtualEnvironmentUse()
_NO_VERSIONS: frozenset[Version] = frozenset()
_KEPT_CONTENTS = 4_096


def override_use(app: str, component: str) -> UseKey:
    """An override of a component is for a single deployment."""
    return "override", app, component


def version_named(name: str) -> Version | None:
    """Return the version that a key names after ``component.``; None if it is not well formed."""
    parts = name.split(".")
    return Version(*parts) if len(parts) == len(Version._fields) else None


class Contents(NamedTuple):
    """The components of a deployment and the variables that they need.

    Attributes:
        versions: The component versions.
        variables: The variables that they declare, and those that their rules use.
        in_rules: The variables that their rules use.
    """

    versions: frozenset[Version]
    variables: frozenset[str]
    in_rules: frozenset[str]


_NO_CONTENTS = Contents(frozenset(), frozenset(), frozenset())


class KnownContents:
    """The contents of deployments. Many deployments share them, so each is found once."""

    def __init__(self) -> None:
        self._components: object = None
        self._found: BoundedCache[SharedContent, Contents] = BoundedCache(_KEPT_CONTENTS)

    def of(self, shared: SharedContent, snapshot: Snapshot) -> Contents:
        """Return the contents of a deployment of a snapshot, or frozen in one of its manifests."""
        components = snapshot.records.components
        if components is not self._components:
            # The contents are those of other component records.
            self._components = components
            self._found = BoundedCache(_KEPT_CONTENTS)
        found = self._found.get(shared)
        if found is None:
            found = _contents(shared, snapshot)
            self._found.put(shared, found)
        return found


def virtual_environment_use(
    name: str, snapshot: Snapshot, known: KnownContents
) -> VirtualEnvironmentUse:
    """Return what a virtual environment uses; what its releases use even if it does not exist.

    Args:
        name: Name of the virtual environment.
        snapshot: The control plane's data.
        known: Finds the contents of deployments.
    """
    records = snapshot.records
    virtual = _fields(records.virtual_environments.get(name))
    state = _fields(records.releases.get(name))
    keys: list[UseKey] = []
    environment = ""
    if virtual is not None:
        environment = virtual.environment
        keys.append(environment_use(environment))
        keys += [own_variable_use(environment, variable) for variable in virtual.data.vars]
    if state is None:
        return VirtualEnvironmentUse(frozenset(keys), environment)
    active = _release_contents(name, state.active, snapshot, known)
    pending = _release_contents(name, state.pending, snapshot, known)
    keys += [deployment_use(used) for used in deployments_in_use(state)]
    keys += [awaited_use(version) for version in pending.versions]
    if state.pending is not None:
        keys.append(PENDING)
    if virtual is not None and _is_live(state.active):
        needed = active.variables - virtual.data.vars.keys()
        keys += [inherited_variable_use(environment, variable) for variable in needed]
    releases = (release for release in (state.active, state.pending) if release is not None)
    return VirtualEnvironmentUse(
        keys=frozenset(keys),
        environment=environment,
        apps=frozenset(app for release in releases for app in release.apps),
        frozen=(_NO_VERSIONS if _is_live(state.active) else active.versions)
        | (_NO_VERSIONS if _is_live(state.pending) else pending.versions),
        released=active.versions,
    )


def variables_of(definition: ComponentDefinition) -> frozenset[str]:
    """Return the variables that a component declares, and those that its rules use."""
    return frozenset(
        (*_in_rules(definition), *(declared.name for declared in definition.variables))
    )


def _fields(entry: RecordEntry[Kind] | None) -> Kind | None:
    return None if entry is None else entry.fields


def _deployments(name: str, release: Release, snapshot: Snapshot) -> Iterator[SharedContent]:
    """Yield the deployments of a release of a virtual environment: frozen, or as they are now."""
    if release.manifest is not None:
        manifest = snapshot.records.manifests.get(f"{name}.{release.manifest}")
        if manifest is not None:
            yield from manifest.shared
        return
    deployments = snapshot.records.deployments
    for app in release.apps.values():
        deployment = deployments.get(app.deployment)
        if deployment is not None:
            yield deployment.shared


def _is_live(release: Release | None) -> bool:
    return release is not None and release.manifest is None


def _release_contents(
    name: str, release: Release | None, snapshot: Snapshot, known: KnownContents
) -> Contents:
    """Return the contents of all deployments of a release."""
    if release is None:
        return _NO_CONTENTS
    found = [known.of(shared, snapshot) for shared in _deployments(name, release, snapshot)]
    if len(found) == 1:
        return found[0]
    return Contents(
        versions=_NO_VERSIONS.union(*(contents.versions for contents in found)),
        variables=frozenset[str]().union(*(contents.variables for contents in found)),
        in_rules=frozenset[str]().union(*(contents.in_rules for contents in found)),
    )


def _contents(shared: SharedContent, snapshot: Snapshot) -> Contents:
    versions = versions_in_use((shared,))
    records = (snapshot.component(*version) for version in versions)
    definitions = [record.definition for record in records if record is not None]
    return Contents(
        versions=versions,
        variables=frozenset[str]().union(*map(variables_of, definitions)),
        in_rules=frozenset[str]().union(*map(_in_rules, definitions)),
    )


def _in_rules(definition: ComponentDefinition) -> Iterator[str]:
    for route in definition.routes:
        try:
            yield from compile_rule(route.rule).variables
        except RuleError:
            continue
