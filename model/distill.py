"""Distillation: which component versions a deployment adds to what runs already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from model.deployment import Deployment


class Step(Enum):
    """What a deployment does to the pods of one component version."""

    REUSED = "reused"
    NEW = "new"
    NO_LONGER_USED = "no longer used"


class PlannedComponent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a plan."""

    component: str
    hash: str
    step: Step


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to pods, by component and then step.

    Attributes:
        deployment: Name of the deployment the plan is for.
        components: One entry for each version that is reused, new or no longer used.
        missing_bundles: Hashes whose code the platform does not hold yet.
    """

    deployment: str
    components: tuple[PlannedComponent, ...]
    missing_bundles: tuple[str, ...] = ()

    def count(self, step: Step) -> int:
        """Return how many component versions take ``step``."""
        return sum(each.step is step for each in self.components)


class Version(NamedTuple):
    """A component version, which pods are started for."""

    app: str
    component: str
    hash: str


def versions_in_use(deployments: Iterable[Deployment]) -> frozenset[Version]:
    """Return every component version that some deployment names: each needs pods once."""
    return frozenset(
        Version(deployment.app, component, digest)
        for deployment in deployments
        for component, digest in deployment.components.items()
    )


def distill(
    name: str,
    app: str,
    components: Mapping[str, str],
    uses: Mapping[Version, int],
    *,
    replaced: Deployment | None = None,
    bundles: Iterable[str] = (),
) -> Plan:
    """Return what deploying ``components`` under ``name`` means for pods.

    Args:
        name: Name of the deployment.
        app: Name of the app.
        components: Component name to hash; empty to plan an undeployment.
        uses: How many deployments are made of each component version.
        replaced: The deployment of that name now.
        bundles: Hashes whose code the platform holds.
    """
    wanted = {Version(app, component, digest) for component, digest in components.items()}
    given_up = versions_in_use((replaced,) if replaced else ()) - wanted
    steps = [
        *((version, Step.REUSED if version in uses else Step.NEW) for version in wanted),
        *((version, Step.NO_LONGER_USED) for version in given_up if uses[version] == 1),
    ]
    held = frozenset(bundles)
    return Plan(
        deployment=name,
        components=tuple(
            PlannedComponent(component=version.component, hash=version.hash, step=step)
            for version, step in sorted(steps, key=_reading_order)
        ),
        missing_bundles=tuple(sorted({version.hash for version in wanted} - held)),
    )


def _reading_order(planned: tuple[Version, Step]) -> tuple[str, int, str]:
    version, step = planned
    return version.component, list(Step).index(step), version.hash
