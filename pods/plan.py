"""Which pods to start and which to stop, so that every component version in use has its pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from model.component import ComponentDefinition, DependencyKind
from model.deployment import Deployment
from model.distill import Version, versions_in_use
from routing.snapshot import Snapshot

REPLICAS = 1


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now.

    Attributes:
        start: One entry for each pod to start, sorted.
        stop: Ids of the pods to stop, sorted.
    """

    start: tuple[Version, ...] = ()
    stop: tuple[str, ...] = ()


def wanted(snapshot: Snapshot) -> frozenset[Version]:
    """Return the versions that need pods: of every deployment, live or frozen in a release.

    A frozen deployment counts as long as its release is active or pending; the pods of an
    archived one start again when it is restored.
    """
    return snapshot.versions | versions_in_use(_frozen(snapshot))


def idle(
    ready_at_s: Mapping[Version, float], used: frozenset[str], now_s: float, idle_s: float
) -> frozenset[Version]:
    """Return the versions that may sleep.

    One that never became ready may not: that it sleeps says that it can be woken.

    Args:
        ready_at_s: Since when each version has been ready, of those that are.
        used: Hashes that somebody has used within ``idle_s``.
        now_s: On the clock of ``ready_at_s``.
        idle_s: How long a version stays awake without being used.
    """
    return frozenset(
        version
        for version, at_s in ready_at_s.items()
        if now_s - at_s >= idle_s and version.hash not in used
    )


def called(
    caller: Version,
    versions: Iterable[Version],
    definitions: Mapping[Version, ComponentDefinition],
) -> tuple[Version, ...]:
    """Return those of ``versions`` that a version calls, also through others.

    Args:
        caller: Who calls; it is not called itself, even in a circle.
        versions: Of one deployment: at most one of each component.
        definitions: Of all of them, where known; a version without one calls nobody.

    Returns:
        Who is called comes after who calls it first.
    """
    by_name = {(each.app, each.component): each for each in versions}
    reached = [caller]
    for each in reached:
        found = (by_name.get(callee) for callee in _callees(each, definitions))
        reached += [version for version in found if version and version not in reached]
    return tuple(reached[1:])


def plan(versions: frozenset[Version], pods: Mapping[str, Version]) -> Actions:
    """Return what turns ``pods`` into ``REPLICAS`` pods for each of ``versions``.

    Args:
        versions: What needs pods.
        pods: Pod id to its version; a pod that waits to be restarted is one too, a pod that is
            being stopped is not.
    """
    kept: Counter[Version] = Counter()
    stop: list[str] = []
    for pod, version in sorted(pods.items()):
        if version in versions and kept[version] < REPLICAS:
            kept[version] += 1
        else:
            stop.append(pod)
    start = [version for version in sorted(versions) for _ in range(REPLICAS - kept[version])]
    return Actions(start=tuple(start), stop=tuple(stop))


def stop_order(
    pods: Mapping[str, Version], definitions: Mapping[Version, ComponentDefinition]
) -> tuple[tuple[str, ...], ...]:
    """Return the pods in groups to stop one after another: who calls before who is called.

    Args:
        pods: Pod id to its version, of the pods to stop.
        definitions: Of their versions, where known; a version without one calls nobody. Those
            that call each other in a circle come together.
    """
    groups: list[tuple[str, ...]] = []
    remaining = dict(pods)
    while remaining:
        called = {
            callee
            for version in set(remaining.values())
            for callee in _callees(version, definitions)
        }
        group = [pod for pod, (app, name, _) in remaining.items() if (app, name) not in called]
        groups.append(tuple(sorted(group or remaining)))
        remaining = {pod: remaining[pod] for pod in remaining.keys() - set(groups[-1])}
    return tuple(groups)


def _frozen(snapshot: Snapshot) -> Iterator[Deployment]:
    for name, state in snapshot.releases.items():
        for release in (state.active, state.pending):
            if release is not None and release.manifest is not None:
                manifest = snapshot.manifest(name, release.manifest)
                if manifest is not None:
                    yield from manifest.deployments.values()


def _callees(
    caller: Version, definitions: Mapping[Version, ComponentDefinition]
) -> Iterable[tuple[str, str]]:
    app, name, _ = caller
    definition = definitions.get(caller)
    dependencies = definition.dependencies if definition is not None else ()
    # A component that calls itself must not wait for itself.
    return [
        (app, each.name)
        for each in dependencies
        if each.kind is DependencyKind.COMPONENT and each.name != name
    ]
