"""The usage index: who uses a deployment, an environment, a variable or a component version.

The control plane and the pod runners ask these questions at each change, so the answers must not
cost a walk over all releases. The index is brought from one snapshot to a later one by the keys
that changed in between, in steps: the cost is proportional to the virtual environments that use
what changed. Processes that only route have no use for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Set
from itertools import chain
from typing import TypeVar

from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.records import kind_of, manifest_key
from kubefox.release import Release
from kubefox.rollout import RolloutState
from routing.change_log import ChangeLog
from routing.snapshot import usage
from routing.snapshot.member_groups import MemberGroups
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage import (
    NO_USE,
    KnownContents,
    UseKey,
    VirtualEnvironmentUse,
    virtual_environment_use,
)

Item = TypeVar("Item", bound=Hashable)


class UsageIndex:
    """Who uses what in one snapshot.

    Attributes:
        snapshot: The snapshot that the index is about.
        changed_versions: The component versions whose users, or whose number of pods, may have
            changed.
        moves: How often the use of a virtual environment was found again.
    """

    def __init__(self) -> None:
        self.snapshot = Snapshot.empty()
        self.changed_versions: ChangeLog[Version] = ChangeLog()
        self.moves = 0
        self._users: MemberGroups[UseKey] = MemberGroups()
        self._manifests: MemberGroups[str] = MemberGroups()
        self._contents = KnownContents()
        # How many virtual environments use a version or an app: of these, nobody asks the names.
        self._frozen: Counter[Version] = Counter()
        self._released: Counter[Version] = Counter()
        self._apps: Counter[tuple[str, str]] = Counter()
        self._app_environments: MemberGroups[str] = MemberGroups()
        # Hashes of the versions that need pods.
        self._wanted: MemberGroups[tuple[str, str]] = MemberGroups()

    def release_users(self, deployment: str) -> Collection[str]:
        """Return the virtual environments whose active or pending release names a deployment."""
        return self._users.of(usage.deployment_use(deployment))

    def live_users(self, deployment: str) -> Iterator[str]:
        """Yield the virtual environments whose active release serves a deployment live."""
        releases = self.snapshot.releases
        for name in self.release_users(deployment):
            if _serves_live(releases[name].active, deployment):
                yield name

    def members(self, environment: str) -> Collection[str]:
        """Return the virtual environments of an environment."""
        return self._users.of(usage.environment_use(environment))

    def inheriting(self, environment: str, variable: str) -> Collection[str]:
        """Return the virtual environments that need a variable of their environment.

        Their active release is live, one of its components declares the variable or uses it in a
        rule, and they do not set it themselves.
        """
        return self._users.of(usage.inherited_variable_use(environment, variable))

    def setting(self, environment: str, variable: str) -> Collection[str]:
        """Return the virtual environments of an environment that set a variable themselves."""
        return self._users.of(usage.own_variable_use(environment, variable))

    def environments_of(self, app: str) -> Collection[str]:
        """Return the environments with a virtual environment in which an app is released.

        A pending release counts too.
        """
        return self._app_environments.of(app)

    def manifests(self, virtual_environment: str) -> Collection[str]:
        """Return the ids of all manifests of a virtual environment, used or not."""
        return self._manifests.of(virtual_environment)

    @property
    def pending(self) -> Collection[str]:
        """The virtual environments with a pending release."""
        return self._users.of(usage.PENDING)

    def awaiting(self, version: Version) -> Collection[str]:
        """Return the virtual environments whose pending release has a component version."""
        return self._users.of(usage.awaited_use(version))

    def rolling(self, version: Version) -> Collection[str]:
        """Return the deployments that are rolling out a component version."""
        return self._users.of(usage.rolling_use(version))

    def is_released(self, version: Version) -> bool:
        """Return whether plain URLs need a version: it belongs to an active release."""
        return version in self._released

    def is_awaited(self, version: Version) -> bool:
        """Return whether a pending release or a rollout waits for a version."""
        return usage.awaited_use(version) in self._users or (
            usage.rolling_use(version) in self._users
        )

    def is_wanted(self, version: Version) -> bool:
        """Return whether a version needs pods: of a deployment that is live, rolling or frozen.

        A frozen deployment counts while its release is active or pending.
        """
        return (
            version in self.snapshot.uses
            or version in self._frozen
            or usage.rolling_use(version) in self._users
        )

    def wanted(self) -> Iterator[Version]:
        """Yield every version that needs pods, in any order."""
        for app, component in self._wanted:
            for digest in self._wanted.of((app, component)):
                yield Version(app, component, digest)

    def known_versions(self) -> Iterator[Version]:
        """Yield at least every version that needs pods, some twice; the index may move meanwhile.

        The versions are those of this moment.
        """
        rolling = self.snapshot.rolling
        targets = (state.rolling.target for state in rolling if state.rolling is not None)
        return chain(self.snapshot.uses, tuple(self._frozen), versions_in_use(targets))

    def wanted_of(self, app: str, component: str) -> frozenset[Version]:
        """Return the versions of one component that need pods."""
        found = self._wanted.of((app, component))
        return frozenset(Version(app, component, digest) for digest in found)

    def wanted_among(self, app: str, component: str, hashes: frozenset[str]) -> list[Version]:
        """Return the versions of one component that need pods and have one of some hashes."""
        found = hashes.intersection(self._wanted.of((app, component)))
        return [Version(app, component, digest) for digest in sorted(found)]

    def overridden(self, app: str, component: str) -> Collection[str]:
        """Return the deployments for which an override of a component exists."""
        return self._users.of(usage.override_use(app, component))

    def replaced_by(self, version: Version) -> Version | None:
        """Return the version that a rollout of this one replaces; None if it replaces none."""
        app, component, digest = version
        for name in sorted(self.rolling(version)):
            state = self.snapshot.rollouts.get(name)
            rolling = state.rolling if state is not None else None
            before = rolling.replaces.components.get(component) if rolling is not None else None
            if before is not None and before != digest:
                return Version(app, component, before)
        return None

    def update(self, snapshot: Snapshot, keys: Iterable[str]) -> Iterator[None]:
        """Bring the index to a later snapshot, in steps; it is not usable before the last one.

        Args:
            snapshot: The later snapshot.
            keys: KV keys of the records that may have changed since ``self.snapshot``.
        """
        moved: dict[str, None] = {}
        touched: set[Version] = set()
        for key in keys:
            yield from self._note(key, snapshot, moved, touched)
        yield from self._finish(snapshot, moved, touched)

    def build(self, snapshot: Snapshot) -> Iterator[None]:
        """Make a new index of a whole snapshot, in steps, like ``update``."""
        touched = set(snapshot.uses)
        for kind in ("manifest", "rollout", "scale"):
            for name in snapshot.records.kinds[kind]:
                yield from self._note(f"{kind}.{name}", snapshot, {}, touched)
        for name in snapshot.virtual_environments:
            self._move(name, snapshot, touched)
            yield
        others: dict[str, None] = {}
        for name in snapshot.releases:
            if name not in snapshot.virtual_environments:
                others[name] = None
            yield
        yield from self._finish(snapshot, others, touched)

    def _finish(
        self, snapshot: Snapshot, moved: Iterable[str], touched: set[Version]
    ) -> Iterator[None]:
        """Move the virtual environments, then the index itself, to a later snapshot."""
        for name in moved:
            self._move(name, snapshot, touched)
            yield
        self.snapshot = snapshot
        for version in touched:
            self._update_wanted(version)
            self.changed_versions.add(version)
            yield

    def _note(
        self, key: str, after: Snapshot, moved: dict[str, None], touched: set[Version]
    ) -> Iterator[None]:
        """Note whose use a changed record changes."""
        before = self.snapshot
        name = key.partition(".")[2]
        match kind_of(key):
            case "release" | "virtual-environment":
                moved[name] = None
            case "manifest":
                virtual_environment, _, release = name.partition(".")
                self._update_manifest(virtual_environment, release, after)
                moved[virtual_environment] = None
            case "deployment":
                moved.update(dict.fromkeys(self.release_users(name)))
                found = (before.deployments.get(name), after.deployments.get(name))
                touched |= versions_in_use(deployment for deployment in found if deployment)
            case "rollout":
                touched |= self._update_rollout(name, after)
            case "component":
                if version := usage.version_named(name):
                    touched.add(version)
                    yield from self._note_component(version, moved)
            case "scale":
                touched |= self._update_override(name, after)
        yield

    def _note_component(self, version: Version, moved: dict[str, None]) -> Iterator[None]:
        # A component version is written before its deployments and is never changed, so a search
        # is needed only if its record was lost.
        if version not in self.snapshot.uses:
            return
        for name, deployment in self.snapshot.deployments.items():
            if version in versions_in_use((deployment,)):
                moved.update(dict.fromkeys(self.release_users(name)))
            yield

    def _update_manifest(self, virtual_environment: str, release: str, after: Snapshot) -> None:
        has_before = release in self.manifests(virtual_environment)
        has_after = after.revision_of(manifest_key(virtual_environment, release)) > 0
        if has_after and not has_before:
            self._manifests.add(virtual_environment, release)
        elif has_before and not has_after:
            self._manifests.remove(virtual_environment, release)

    def _update_rollout(self, name: str, after: Snapshot) -> frozenset[Version]:
        old = _rolling_versions(self.snapshot.rollouts.get(name))
        new = _rolling_versions(after.rollouts.get(name))
        for version in new - old:
            self._users.add(usage.rolling_use(version), name)
        for version in old - new:
            self._users.remove(usage.rolling_use(version), name)
        return old | new

    def _update_override(self, name: str, after: Snapshot) -> frozenset[Version]:
        app, _, rest = name.partition(".")
        component, _, deployment = rest.partition(".")
        key = usage.override_use(app, component)
        if deployment:
            is_known = deployment in self._users.of(key)
            if name in after.scales and not is_known:
                self._users.add(key, deployment)
            elif name not in after.scales and is_known:
                self._users.remove(key, deployment)
        return self.wanted_of(app, component)

    def _move(self, name: str, snapshot: Snapshot, touched: set[Version]) -> None:
        """Replace what a virtual environment used before by what it uses now."""
        self.moves += 1
        is_new = not self.snapshot.revision
        old = NO_USE if is_new else virtual_environment_use(name, self.snapshot, self._contents)
        new = virtual_environment_use(name, snapshot, self._contents)
        for key in new.keys - old.keys if old.keys else new.keys:
            self._users.add(key, name)
        for key in old.keys - new.keys if old.keys else ():
            self._users.remove(key, name)
        _recount(self._released, old.released, new.released)
        touched.update(_recount(self._frozen, old.frozen, new.frozen))
        self._move_apps(old, new)

    def _move_apps(self, old: VirtualEnvironmentUse, new: VirtualEnvironmentUse) -> None:
        before = {(app, old.environment) for app in old.apps if old.environment}
        after = {(app, new.environment) for app in new.apps if new.environment}
        for app, environment in _recount(self._apps, before, after):
            if (app, environment) in self._apps:
                self._app_environments.add(app, environment)
            else:
                self._app_environments.remove(app, environment)

    def _update_wanted(self, version: Version) -> None:
        component = version[:2]
        was_wanted = version.hash in self._wanted.of(component)
        if self.is_wanted(version) and not was_wanted:
            self._wanted.add(component, version.hash)
        elif was_wanted and not self.is_wanted(version):
            self._wanted.remove(component, version.hash)


def usage_of(snapshot: Snapshot) -> UsageIndex:
    """Return the index of a whole snapshot, made at once."""
    index = UsageIndex()
    for _ in index.build(snapshot):
        pass
    return index


def _serves_live(active: Release | None, deployment: str) -> bool:
    return (
        active is not None
        and active.manifest is None
        and any(app.deployment == deployment for app in active.apps.values())
    )


def _rolling_versions(state: RolloutState | None) -> frozenset[Version]:
    rolling = state.rolling if state is not None else None
    targets: tuple[Deployment, ...] = (rolling.target,) if rolling is not None else ()
    return versions_in_use(targets)


def _recount(counts: Counter[Item], before: Set[Item], after: Set[Item]) -> Collection[Item]:
    """Count users of some things anew, and return the things that have one more or one less."""
    if before == after:
        return ()
    if not before:
        for item in after:
            counts[item] += 1
        return after
    added, removed = after - before, before - after
    for item in added:
        counts[item] += 1
    for item in removed:
        if counts[item] == 1:
            del counts[item]
        else:
            counts[item] -= 1
    return {*added, *removed}
