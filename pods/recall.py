"""Versions that get pods back though nothing deploys them: emitted events wait for them.

The events of a version that was undeployed belong to their deployment as it was. So the versions
that it calls in that deployment, directly or through others, get pods too. The pods stop when no
event waits any more, like those of any version that is undeployed.
"""

from __future__ import annotations

from broker.events.outbox import pending_events
from broker.nats.bus import Bus
from broker.storage.store import Store
from kubefox.component import DependencyKind
from kubefox.distill import Version
from routing.snapshot.snapshot import Snapshot


async def recalled_versions(
    bus: Bus, store: Store, version: Version, hashes: frozenset[str]
) -> tuple[Version, ...]:
    """Return the versions to start for the events of a version that nothing deploys any more.

    Args:
        bus: Connection to use.
        store: The control plane's data.
        version: The version that is needed.
        hashes: Hashes of the deployment of an event; see ``WakeRequest.hashes``.

    Returns:
        The version first, then those that it calls. Empty if the version is deployed, if no event
        waits for it, or if it was pruned.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    usage = await store.usage()
    if usage.is_wanted(version) or store.snapshot.component(*version) is None:
        return ()
    if not await pending_events(bus, version.hash):
        return ()
    usage = await store.usage()
    members = members_called(version, hashes, usage.snapshot)
    return (version, *(callee for callee in members if not usage.is_wanted(callee)))


def members_called(
    caller: Version, hashes: frozenset[str], snapshot: Snapshot
) -> tuple[Version, ...]:
    """Return the stored versions with one of ``hashes`` that a version calls, or its callees."""
    reached = [caller]
    for version in reached:
        found = snapshot.component(*version)
        dependencies = found.definition.dependencies if found is not None else ()
        callees = [
            Version(version.app, dependency.name, digest)
            for dependency in dependencies
            if dependency.kind is DependencyKind.COMPONENT
            for digest in sorted(hashes)
        ]
        reached += [
            callee
            for callee in callees
            if callee not in reached and snapshot.component(*callee) is not None
        ]
    return tuple(reached[1:])
