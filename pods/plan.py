"""Decide which pods to start and which to stop, so that every version in use has its pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from kubefox.component import ComponentDefinition, DependencyKind
from kubefox.distill import Version


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """The pods to start and to stop.

    Attributes:
        start: One entry for each pod to start, sorted.
        stop: Ids of the pods to stop because their version is not wanted, sorted.
        surplus: Ids of the pods to stop because their version has too many, sorted.
    """

    start: tuple[Version, ...] = ()
    stop: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()


def idle_versions(
    ready_at_s: Mapping[Version, float],
    used_hashes: frozenset[str],
    now_s: float,
    idle_s: float,
) -> frozenset[Version]:
    """Return the versions that may be stopped because they are idle.

    A version that was never ready is not among them: an idle version must be able to start again.

    Args:
        ready_at_s: The ready versions, and since when each has been ready.
        used_hashes: Hashes of the versions that were used within ``idle_s``.
        now_s: Now, on the clock of ``ready_at_s``.
        idle_s: How long a version has to be ready and unused.
    """
    return frozenset(
        version
        for version, at_s in ready_at_s.items()
        if now_s - at_s >= idle_s and version.hash not in used_hashes
    )


def transitive_callees(
    caller: Version,
    find: Callable[[str, str], Version | None],
    definition_of: Callable[[Version], ComponentDefinition | None],
) -> tuple[Version, ...]:
    """Return the members of a deployment that a version calls, directly or through others.

    Args:
        caller: The calling version; it is not in the result, even if it calls itself in a circle.
        find: Returns the member of the deployment for an app and a component.
        definition_of: Returns the definition of a version; a version without one calls none.

    Returns:
        Each version after the one that calls it first.
    """
    reached = [caller]
    for version in reached:
        for app, name in _callees(version, definition_of(version)):
            callee = find(app, name)
            if callee is not None and callee not in reached:
                reached.append(callee)
    return tuple(reached[1:])


def plan(
    replicas: Mapping[Version, int],
    pods: Mapping[str, Version],
    ready: AbstractSet[str] = frozenset(),
) -> Actions:
    """Return the actions that give each version its number of pods.

    Args:
        replicas: How many pods each version needs, at least 1; other versions need none.
        pods: Pod id to its version. This includes a pod that waits for its restart, but no pod
            that is being stopped.
        ready: Ids of the pods that are ready. They stay rather than others.
    """
    kept: Counter[Version] = Counter()
    stop: list[str] = []
    surplus: list[str] = []
    for pod, version in sorted(pods.items(), key=lambda item: (item[0] not in ready, item[0])):
        if version not in replicas:
            stop.append(pod)
        elif kept[version] == replicas[version]:
            surplus.append(pod)
        else:
            kept[version] += 1
    start = [
        version for version in sorted(replicas) for _ in range(replicas[version] - kept[version])
    ]
    return Actions(start=tuple(start), stop=tuple(sorted(stop)), surplus=tuple(sorted(surplus)))


def stop_order(
    pods: Mapping[str, Version], definitions: Mapping[Version, ComponentDefinition]
) -> tuple[tuple[str, ...], ...]:
    """Return the pods in groups to stop one after another: callers before their callees.

    Args:
        pods: Pod id to its version, of the pods to stop.
        definitions: Definitions of the versions, where known; a version without one calls none.
            Versions that call each other in a circle are in one group.
    """
    groups: list[tuple[str, ...]] = []
    remaining = dict(pods)
    while remaining:
        called = {
            callee
            for version in set(remaining.values())
            for callee in _callees(version, definitions.get(version))
        }
        group = [pod for pod, (app, name, _) in remaining.items() if (app, name) not in called]
        groups.append(tuple(sorted(group or remaining)))
        remaining = {pod: remaining[pod] for pod in remaining.keys() - set(groups[-1])}
    return tuple(groups)


def _callees(caller: Version, definition: ComponentDefinition | None) -> Iterable[tuple[str, str]]:
    app, name, _ = caller
    dependencies = definition.dependencies if definition is not None else ()
    # A component that calls itself must not wait for itself.
    return [
        (app, dependency.name)
        for dependency in dependencies
        if dependency.kind is DependencyKind.COMPONENT and dependency.name != name
    ]
