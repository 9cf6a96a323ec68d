"""The needs of a platform, from measured unit costs, and the limit that comes first."""

from __future__ import annotations

import msgspec

MIB = 1 << 20
GIB = 1 << 30
LINK_BYTES_PER_S = 1.25e9
"""A network link of 10 Gbit/s."""


class UnitCosts(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one of each.

    Attributes:
        preview_bytes: Memory of a routing process for a preview: its deployment, virtual
            environment and release.
        router_bytes: Memory of a routing process without any.
        preview_s: Time of a start until it routes, for each preview.
        pod_bytes: Memory of an idle pod, without the packages of its component.
        control_us: CPU time of control for a change, in µs.
        router_us: CPU time of a routing process for a change of others, in µs.
        nats_us: CPU time of nats-server for a change, in µs.
        follower_us: CPU time of nats-server for a change and each follower, in µs.
        change_bytes: Size of a change on the network.
    """

    preview_bytes: float
    router_bytes: float
    preview_s: float
    pod_bytes: float
    control_us: float
    router_us: float
    nats_us: float
    follower_us: float
    change_bytes: float


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A platform.

    Attributes:
        previews: Deployments, each with a virtual environment and a release of its own.
        pods: Component versions with a pod.
        changes_per_s: Changes of the control plane in a second.
        http_hosts: Hosts with an HTTP adapter.
    """

    previews: int
    pods: int
    changes_per_s: float
    http_hosts: int


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """The need for one resource.

    Attributes:
        resource: Name of the resource.
        amount: How much of it is needed.
        unit: Unit of the amount.
        share: The amount as a share of what one core, or one link, has; None for memory and time.
    """

    resource: str
    amount: float
    unit: str
    share: float | None = None


def needs(costs: UnitCosts, wanted: Wanted) -> tuple[Need, ...]:
    """Return what the platform needs, of each resource."""
    rate = wanted.changes_per_s
    nats_us = costs.nats_us + costs.follower_us * wanted.http_hosts
    sent = rate * wanted.http_hosts * costs.change_bytes
    router_bytes = costs.router_bytes + costs.preview_bytes * wanted.previews
    return (
        _core("control", rate * costs.control_us),
        _core("each HTTP host, for changes", rate * costs.router_us),
        _core("nats-server, for changes", rate * nats_us),
        Need(
            resource="network of nats-server",
            amount=sent / 1e6,
            unit="MB/s",
            share=sent / LINK_BYTES_PER_S,
        ),
        Need(resource="memory of a routing process", amount=router_bytes / MIB, unit="MiB"),
        Need(resource="memory of all pods", amount=wanted.pods * costs.pod_bytes / GIB, unit="GiB"),
        Need(resource="start until it routes", amount=wanted.previews * costs.preview_s, unit="s"),
    )


def first_limit(found: tuple[Need, ...]) -> Need:
    """Return the resource of which the largest share is needed."""
    shared = [need for need in found if need.share is not None]
    return max(shared, key=lambda need: need.share or 0)


def _core(resource: str, us_per_s: float) -> Need:
    cores = us_per_s / 1e6
    return Need(resource=f"CPU of {resource}", amount=cores, unit="cores", share=cores)
