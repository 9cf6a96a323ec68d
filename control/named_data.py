"""The hashes, manifests and component versions that the control plane's data name, for pruning.

Pure. Each function reads all records of some kinds, so it is made of steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kubefox.component import ComponentVersion
from kubefox.release import manifests_in_use
from kubefox.rollout import deployments_of
from kubefox.steps import Steps
from routing.snapshot.snapshot import Snapshot


def recorded_versions(snapshot: Snapshot) -> Steps[Mapping[str, Sequence[ComponentVersion]]]:
    """Return every component version that has a record, by hash."""
    recorded: defaultdict[str, list[ComponentVersion]] = defaultdict(list)
    for entry in snapshot.records.components.values():
        recorded[entry.record.hash].append(entry.record)
        yield
    return recorded


def named_hashes(snapshot: Snapshot) -> Steps[set[str]]:
    """Return the hashes that deployments, rollouts and manifests name."""
    named: set[str] = set()
    for _, _, digest in snapshot.uses:
        named.add(digest)
        yield
    for rollouts in snapshot.rollouts.values():
        for deployment in deployments_of(rollouts):
            named.update(deployment.components.values())
        yield
    for name, state in snapshot.releases.items():
        for release in manifests_in_use(state):
            manifest = snapshot.manifest(name, release)
            for deployment in manifest.deployments.values() if manifest else ():
                named.update(deployment.components.values())
        yield
    return named


def unnamed_manifests(snapshot: Snapshot) -> Steps[list[tuple[str, str]]]:
    """Return the manifests that no release names: virtual environment and release, sorted."""
    in_use: set[tuple[str, str]] = set()
    for name, state in snapshot.releases.items():
        in_use.update((name, release) for release in manifests_in_use(state))
        yield
    unnamed = []
    for entry in snapshot.records.manifests.values():
        manifest = entry.record
        if (manifest.virtual_environment, manifest.id) not in in_use:
            unnamed.append((manifest.virtual_environment, manifest.id))
        yield
    return sorted(unnamed)
