"""The limits for the pods of a reconciler."""

from __future__ import annotations

import msgspec

from kubefox.scaling import Replicas
from pods.autoscaler import Windows


class PodLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits for the pods of a reconciler.

    Attributes:
        starts_at_once: Number of pods that may start at the same time on this machine.
        start_deadline_s: How long a pod may take until it is ready.
        event_ttl_s: Longest time to live of a request that may still need a pod.
        idle_s: How long a version has to be unused before it is stopped; 0 stops none.
        min_check_s: Least time between two idle checks.
        remember_use_s: Time between two notes of the versions that are in use.
        replicas: The platform's default for the number of pods of a version.
        windows: Times of the autoscaler.
    """

    starts_at_once: int = 4
    start_deadline_s: float = 30
    event_ttl_s: float = 30
    idle_s: float = 0
    min_check_s: float = 3
    remember_use_s: float = 60
    replicas: Replicas = Replicas()
    windows: Windows = Windows()
