"""Which versions a component version calls, and the definitions that say so."""

from __future__ import annotations

from collections.abc import Iterable

from kubefox.component import ComponentDefinition
from kubefox.distill import Version
from pods.plan import transitive_callees
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage_index import UsageIndex


def callees_of(caller: Version, hashes: frozenset[str], usage: UsageIndex) -> tuple[Version, ...]:
    """Return the versions that a version calls, directly or through others, and that need pods.

    Args:
        caller: The calling version.
        hashes: Hashes of the deployment of an event.
        usage: Of the current snapshot.
    """

    def find(app: str, component: str) -> Version | None:
        return next(iter(usage.wanted_among(app, component, hashes)), None)

    def definition_of(version: Version) -> ComponentDefinition | None:
        found = usage.snapshot.component(*version)
        return found.definition if found is not None else None

    return transitive_callees(caller, find, definition_of)


def definitions_of(
    versions: Iterable[Version], snapshot: Snapshot
) -> dict[Version, ComponentDefinition]:
    """Return the definitions of some versions, as far as they are known."""
    return {
        version: found.definition
        for version in versions
        if (found := snapshot.component(*version)) is not None
    }
