"""Distillation: the component versions that a deployment adds to the running ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

import msgspec

from kubefox.deployment import Deployment, HasComponents
from kubefox.errors import Problem


class Step(Enum):
    """The effect of a deployment on the pods of one component version."""

    REUSED = "reused"
    NEW = "new"
    NO_LONGER_USED = "no longer used"


class PlannedComponent(msgspec.Struct, frozen=True, kw_only=True):
    """One component version in a plan.

    Attributes:
        component: Name of the component.
        hash: Full content hash.
        step: Effect of the deployment on its pods.
    """

    component: str
    hash: str
    step: Step


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The effects of a deployment on pods, sorted by component and then step.

    Attributes:
        deployment: Name of the deployment the plan is for.
        components: One entry for each version that is reused, new or no longer used.
        missing_bundles: Hashes of which the platform has no bundle yet.
        warnings: Variables that the deployment would need, and that virtual environments of its app
            lack, as far as the definitions of its components are known.
    """

    deployment: str
    components: tuple[PlannedComponent, ...]
    missing_bundles: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def count(self, step: Step) -> int:
        """Return how many component versions have ``step``."""
        return sum(planned.step is step for planned in self.components)


class Version(NamedTuple):
    """The key of a component version."""

    app: str
    component: str
    hash: str


def versions_in_use(deployments: Iterable[HasComponents]) -> frozenset[Version]:
    """Return every component version that a deployment uses; each needs pods only once."""
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
    """Return the plan for deploying ``components`` under ``name``.

    Args:
        name: Name of the deployment.
        app: Name of the app.
        components: Component name to hash; empty to plan an undeployment.
        uses: How many deployments use each component version.
        replaced: The current deployment of that name.
        bundles: Hashes of which the platform has a bundle.
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
