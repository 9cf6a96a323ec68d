"""How many replicas a component version runs: limits in layers, the higher one wins.

The layers are, from the lowest: the platform's default (``FOX_POD_MIN_REPLICAS`` and others), the
declaration in the component's code (``kit.scale``), the override for a component, and the override
for a component of one deployment (both by ``fox scale``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from kubefox.formats import Name, OptionalName, Range, checked

MAX_REPLICAS = 1_000
MAX_CONCURRENCY = 100_000


class Scale(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One layer of limits; None leaves a limit to the layer below.

    Attributes:
        min: Number of replicas that always run. With 0, an idle version is stopped after
            ``FOX_POD_IDLE_S``; while it is not idle, one replica runs.
        max: Largest number of replicas.
        target_in_flight: Events in flight for which one replica is enough.
    """

    min: Annotated[int, checked(Range(minimum=0, maximum=MAX_REPLICAS))] | None = None
    max: Annotated[int, checked(Range(minimum=1, maximum=MAX_REPLICAS))] | None = None
    target_in_flight: Annotated[float, checked(Range(minimum=0, is_above_minimum=True))] | None = (
        None
    )


class Replicas(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that apply to one component version.

    Attributes:
        min: Number of replicas that always run; 0 lets an idle version be stopped.
        max: Largest number of replicas.
        target_in_flight: Events in flight for which one replica is enough.
    """

    min: int = 0
    max: int = 1
    target_in_flight: float = 20

    def clamp(self, count: int) -> int:
        """Return the number of replicas within the limits that is nearest to ``count``."""
        return min(max(count, self.min, 1), self.max)

    @property
    def is_scaled(self) -> bool:
        """Whether the number of replicas follows the load."""
        return self.max > max(self.min, 1)


class ScaleOverride(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that replace those in a component's code.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        deployment: Name of the deployment to which it applies; empty for all of them.
        scale: The limits.
    """

    app: Name
    component: Name
    deployment: OptionalName = ""
    scale: Scale


class VersionScale(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas of one component version.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        limits: The limits that apply.
        declared: The limits that the component's code declares; null if it declares none.
        overrides: The overrides that exist for the component, whose deployments may not use this
            version.
        pods: Number of its pods.
        ready: Number of its pods that are ready.
        is_idle: Whether its pods are stopped because it is unused.
        concurrency: ``ComponentDefinition.concurrency``.
        memory_mib: ``ComponentDefinition.memory_mib``.
        open_files: ``ComponentDefinition.open_files``.
        processes: ``ComponentDefinition.processes``.
    """

    app: str
    component: str
    hash: str
    limits: Replicas
    declared: Scale | None
    overrides: tuple[ScaleOverride, ...]
    pods: int
    ready: int
    is_idle: bool
    concurrency: int | None = None
    memory_mib: int | None = None
    open_files: int | None = None
    processes: int | None = None


class ScaleChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an override, or its removal.

    Attributes:
        component: Name of the component.
        deployment: Name of the deployment to which the override applies; empty for all of them.
        scale: Limits to set; those that are null stay as they are.
        reset: Remove the override first. Without any limit to set, none is left then.
    """

    component: Name
    deployment: OptionalName = ""
    scale: Scale = Scale()
    reset: bool = False


def fault_of(scale: Scale) -> str:
    """Return why limits are not possible; empty if they are."""
    low, high, target = scale.min, scale.max, scale.target_in_flight
    if low is not None and not 0 <= low <= MAX_REPLICAS:
        return f"min is {low}: expected a number from 0 to {MAX_REPLICAS}"
    if high is not None and not 1 <= high <= MAX_REPLICAS:
        return f"max is {high}: expected a number from 1 to {MAX_REPLICAS}"
    if low is not None and high is not None and low > high:
        return f"min is {low}: expected at most max, which is {high}"
    if target is not None and not 0 < target < float("inf"):
        return f"target_in_flight is {target:g}: expected a number above 0"
    return ""


def concurrency_fault(concurrency: int | None) -> str:
    """Return why a component cannot declare a concurrency; empty if it can."""
    if concurrency is None or 1 <= concurrency <= MAX_CONCURRENCY:
        return ""
    return f"concurrency is {concurrency}: expected a number from 1 to {MAX_CONCURRENCY}"


def replicas_of(layers: Iterable[Scale | None], default: Replicas) -> Replicas:
    """Return the limits that some layers give.

    A limit of a higher layer moves the other limit of a lower layer that contradicts it.

    Args:
        layers: Lowest first; None is a layer without limits.
        default: The platform's default, below all layers.
    """
    low, high, target = default.min, default.max, default.target_in_flight
    for layer in layers:
        if layer is None:
            continue
        if layer.min is not None:
            low, high = layer.min, max(high, layer.min)
        if layer.max is not None:
            low, high = min(low, layer.max), layer.max
        if layer.target_in_flight is not None:
            target = layer.target_in_flight
    return Replicas(min=low, max=high, target_in_flight=target)


def enough_for_all(needs: Iterable[Replicas]) -> Replicas:
    """Return the limits of a version that several deployments share: enough for each of them.

    Args:
        needs: At least one.
    """
    all_needs = tuple(needs)
    return Replicas(
        min=max(need.min for need in all_needs),
        max=max(need.max for need in all_needs),
        target_in_flight=min(need.target_in_flight for need in all_needs),
    )


def merged(before: Scale, change: Scale) -> Scale:
    """Return ``before`` with the limits that ``change`` sets."""
    return Scale(
        min=before.min if change.min is None else change.min,
        max=before.max if change.max is None else change.max,
        target_in_flight=(
            before.target_in_flight if change.target_in_flight is None else change.target_in_flight
        ),
    )
