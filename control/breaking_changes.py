"""Breaking changes: changes that would stop an active release of policy Testing from working.

Such a release is served with live values and live code, so a change of values or of code affects it
at once. Only the problems that the change adds are reported.

A hundred thousand releases may use what changes, with few different values among them. So equal
cases are checked once, and the check of values yields to other tasks and runs before the write's
transaction, which only checks again what has changed in between.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import chain

from broker.runtime.cooperative import TimeSlice, run_in_slices
from broker.storage.store import Store
from control.release_contents import live_contents
from control.secret_masks import EnvironmentObject
from kubefox.component import Value
from kubefox.deployment import Deployment
from kubefox.environment import Environment, HTTPAdapter, VirtualEnvironment, overlay
from kubefox.errors import Problem
from kubefox.records import environment_key, kind_of, virtual_environment_key
from kubefox.release import Release
from kubefox.steps import Steps
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.packed_records import SharedContent
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage import KnownContents, variables_of
from routing.snapshot.usage_index import UsageIndex
from routing.validate import Definitions, use_problems, value_problems

_VALUES_A_STEP = 512


Layers = tuple[Mapping[str, Value], ...]
"""Values of variables, highest precedence first."""


def changed_variables(record: EnvironmentObject, snapshot: Snapshot) -> Steps[frozenset[str]]:
    """Find, in steps, the variables whose own values an object changes."""
    if isinstance(record, HTTPAdapter):
        return frozenset()
    is_environment = isinstance(record, Environment)
    stored = (snapshot.environments if is_environment else snapshot.virtual_environments).get(
        record.name
    )
    old: Mapping[str, Value] = stored.data.vars if stored is not None else {}
    new, changed = record.data.vars, set()
    for number, name in enumerate(old.keys() | new.keys(), 1):
        # 1 == True, but their types differ, and a rule writes them differently.
        if _as_key(old.get(name)) != _as_key(new.get(name)):
            changed.add(name)
        if number % _VALUES_A_STEP == 0:
            yield
    return frozenset(changed)


def affected_by_values(
    record: EnvironmentObject, changed: frozenset[str], usage: UsageIndex
) -> Steps[list[tuple[str, ...]]]:
    """Find, in steps, the virtual environments whose live release meets other values by ``record``.

    They come in groups, one for each changed variable of an environment.
    """
    groups: list[tuple[str, ...]] = []
    match record:
        case Environment():
            for number, variable in enumerate(sorted(changed), 1):
                groups.append(tuple(usage.inheriting(record.name, variable)))
                if number % _VALUES_A_STEP == 0:
                    yield
        case VirtualEnvironment() if _is_live(record.name, usage.snapshot):
            groups.append((record.name,))
    return groups


class ValueCheck:
    """The problems that storing an object would add to live releases.

    It can be brought up to date: only releases that have changed in between are checked again.

    Args:
        record: New content of an environment, a virtual environment or an HTTP adapter.
        store: The control plane's data.

    Attributes:
        checked: How many releases were checked so far, those checked again included.
    """

    def __init__(self, record: EnvironmentObject, store: Store) -> None:
        self._record = record
        self._store = store
        self._position = -1
        self._problems: dict[str, tuple[Problem, ...]] = {}
        self._equal: dict[Hashable, tuple[Problem, ...]] = {}
        self._contents = KnownContents()
        self._changed: frozenset[str] = frozenset()
        self.checked = 0

    async def problems(self) -> tuple[Problem, ...]:
        """Return the problems with the latest data; yields to the event loop in between."""
        usage = await self._store.usage()
        self._forget_changed(usage)
        self._position = self._store.changes.position
        snapshot, time_slice = usage.snapshot, TimeSlice()
        found: dict[str, tuple[Problem, ...]] = {}
        self._changed = await run_in_slices(changed_variables(self._record, snapshot))
        affected = await run_in_slices(affected_by_values(self._record, self._changed, usage))
        for name in chain.from_iterable(affected):
            if name not in self._problems:
                self._problems[name] = await self._added(name, snapshot)
                self.checked += 1
            if problems := self._problems[name]:
                found[name] = problems
            await time_slice.checkpoint()
        return tuple(chain.from_iterable(found.values()))

    async def aclose(self) -> None:
        """Free the results in slices: those of 100,000 releases would hold the event loop."""
        time_slice = TimeSlice()
        for results in (self._problems, self._equal):
            while results:
                results.popitem()
                await time_slice.checkpoint()

    def _forget_changed(self, usage: UsageIndex) -> None:
        """Forget the releases that have changed since they were checked."""
        changed = self._store.changes.since(self._position)
        if changed is None or self._keys() & changed.keys():
            self._problems.clear()
            self._equal.clear()
            return
        for key in changed:
            name = key.partition(".")[2]
            match kind_of(key):
                case "release" | "virtual-environment":
                    self._problems.pop(name, None)
                case "deployment":
                    for user in usage.release_users(name):
                        self._problems.pop(user, None)
                case "component":
                    # Hashes stand for components in the equal cases.
                    self._problems.clear()
                    self._equal.clear()

    def _keys(self) -> set[str]:
        """Return the keys of the records whose change makes all results out of date."""
        record = self._record
        keys = {environment_key(record.name), virtual_environment_key(record.name)}
        if isinstance(record, VirtualEnvironment):
            keys.add(environment_key(record.environment))
        return keys

    async def _added(self, name: str, snapshot: Snapshot) -> tuple[Problem, ...]:
        """Return the problems that the record adds to the live release of a virtual environment."""
        state, virtual = snapshot.releases.get(name), snapshot.virtual_environments.get(name)
        environment = snapshot.environments.get(virtual.environment) if virtual else None
        if state is None or state.active is None or virtual is None or environment is None:
            # It is newer than the snapshot, and is checked the next time.
            return ()
        record = self._record
        new_virtual = record if isinstance(record, VirtualEnvironment) else virtual
        new_environment = record if isinstance(record, Environment) else environment
        before = virtual.data.vars, environment.data.vars
        after = new_virtual.data.vars, new_environment.data.vars
        case = self._case(state.active, before, after, snapshot)
        if case not in self._equal:
            deployments = live_contents(snapshot, name, state.active.apps).deployments
            old, new = overlay(environment, virtual), overlay(new_environment, new_virtual)
            self._equal[case] = _new_problems(
                await run_in_slices(use_problems(deployments, old.vars, snapshot)),
                await run_in_slices(use_problems(deployments, new.vars, snapshot)),
            )
        return _moved(self._equal[case], name)

    def _case(
        self, release: Release, before: Layers, after: Layers, snapshot: Snapshot
    ) -> Hashable:
        """Return a key that is equal for releases with the same components and the same values."""
        components: list[Hashable] = []
        needed: frozenset[str] = frozenset()
        is_in_rules = False
        for app, released in release.apps.items():
            deployment = snapshot.deployments.get(released.deployment)
            if deployment is not None:
                components.append((app, deployment.app, *deployment.components.items()))
                contents = self._contents.of(SharedContent.of(deployment), snapshot)
                needed |= contents.variables
                is_in_rules = is_in_rules or not contents.in_rules.isdisjoint(self._changed)
        # A rule may combine a changed variable with others; a declaration concerns only one.
        names = sorted(needed if is_in_rules else needed & self._changed)
        return tuple(components), _values_of(names, before), _values_of(names, after)


async def breaking_changes_by_code(
    deployment: Deployment, definitions: Definitions, usage: UsageIndex
) -> list[Problem]:
    """Return the problems that storing a deployment would add, for each place where it is live.

    The rules are compiled for each place with other values; other tasks run in between.

    Args:
        deployment: New content of the deployment.
        definitions: Definitions of its components, by name.
        usage: Of the control plane's data, with the deployment that is replaced.
    """
    snapshot = usage.snapshot
    replaced = snapshot.deployments.get(deployment.name)
    if replaced is None:
        return []
    before, _ = definitions_of(replaced, snapshot.records)
    needed = sorted(_needed_by(before) | _needed_by(definitions))
    equal: dict[Hashable, tuple[Problem, ...]] = {}
    problems: list[Problem] = []
    time_slice = TimeSlice()
    # The index moves on while other tasks run.
    for name in tuple(usage.live_users(deployment.name)):
        virtual = snapshot.virtual_environments.get(name)
        environment = snapshot.environments.get(virtual.environment) if virtual else None
        if virtual is None or environment is None:
            continue
        values = overlay(environment, virtual).vars
        case = _values_of(needed, (values,))
        if case not in equal:
            equal[case] = _new_problems(
                await run_in_slices(value_problems(before, values)),
                await run_in_slices(value_problems(definitions, values)),
            )
        problems += _moved(equal[case], name)
        await time_slice.checkpoint()
    return problems


def _is_live(name: str, snapshot: Snapshot) -> bool:
    state = snapshot.releases.get(name)
    is_live = state is not None and state.active is not None and state.active.manifest is None
    return is_live and name in snapshot.virtual_environments


def _needed_by(definitions: Definitions) -> frozenset[str]:
    return frozenset[str]().union(*map(variables_of, definitions.values()))


def _values_of(names: Iterable[str], layers: Layers) -> Hashable:
    """Return the values of variables as a key; the first layer that has a variable counts."""
    found = (next((layer[name] for layer in layers if name in layer), None) for name in names)
    return tuple(map(_as_key, found))


def _as_key(value: Value | None) -> Hashable:
    if isinstance(value, list):
        return tuple(_as_key(member) for member in value)
    return type(value), value


def _new_problems(before: Iterable[Problem], after: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems of ``after`` that are not in ``before``."""
    known = {(problem.type, problem.path) for problem in before}
    return tuple(problem for problem in after if (problem.type, problem.path) not in known)


def _moved(problems: Iterable[Problem], virtual_environment: str) -> tuple[Problem, ...]:
    """Return problems with the path of the release in a virtual environment."""
    return tuple(
        Problem(
            type=problem.type,
            message=problem.message,
            path=f"releases.{virtual_environment}.{problem.path}",
        )
        for problem in problems
    )
