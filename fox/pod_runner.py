"""The pod runner of this process: its name, and its limits from the settings."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

from broker.runtime.confinement import Confinement
from broker.runtime.settings import MIB, Settings
from kubefox.names import clean_name
from kubefox.pod import RunnerStatus
from kubefox.scaling import Replicas
from pods.kubernetes.cluster import load_cluster
from pods.limits import PodLimits
from pods.pod_environ import parse_names
from pods.pod_users import parse_uids
from pods.protections import describe_protections
from pods.rights import PodRights

_FOLDER_DIGITS = 6
CLUSTER_START_S = 300.0
CLUSTER_STARTS = 32
LOCAL = "local"
"""Name of the driver whose pods are processes of this machine."""
CLUSTER = "kubernetes"
"""Name of the driver whose pods are those of a cluster; its pod runners share them."""


def this_runner(data_dir: Path, settings: Settings) -> RunnerStatus:
    """Return this pod runner. This blocks.

    Its name is that of the machine and of its data folder. Pod runners of a cluster share their
    pods, and so the name: it is that of the namespace.

    Args:
        data_dir: Absolute path.
        settings: Of this process.

    Raises:
        InvalidRequest: There is no cluster.
    """
    if settings.pod_driver == CLUSTER:
        namespace = load_cluster(os.environ).namespace
        return RunnerStatus(
            name=f"{CLUSTER}-{namespace}", started_at_s=time.time(), pid=os.getpid()
        )
    folder = hashlib.sha256(str(data_dir).encode()).hexdigest()[:_FOLDER_DIGITS]
    name = f"{clean_name(socket.gethostname()) or 'host'}-{folder}"
    is_local = settings.pod_driver == LOCAL
    protections = describe_protections(name, pod_rights(settings)) if is_local else None
    return RunnerStatus(
        name=name, started_at_s=time.time(), pid=os.getpid(), protections=protections
    )


def pod_limits(settings: Settings) -> PodLimits:
    """Return the limits of the pods of this process.

    On this machine as many start at once as there are cores. In a cluster, a node may have to fetch
    the image, or has to be added.
    """
    is_local = settings.pod_driver == LOCAL
    return PodLimits(
        starts_at_once=len(os.sched_getaffinity(0)) if is_local else CLUSTER_STARTS,
        start_deadline_s=PodLimits().start_deadline_s if is_local else CLUSTER_START_S,
        event_ttl_s=settings.event_ttl_s,
        idle_s=settings.pod_idle_s,
        replicas=default_replicas(settings),
    )


def pod_rights(settings: Settings) -> PodRights:
    """Return what the pods of this process may do.

    Raises:
        InvalidRequest: A setting is not valid.
    """
    return PodRights(
        limits=Confinement(
            memory_bytes=settings.pod_memory_mib * MIB,
            open_files=settings.pod_open_files,
            processes=settings.pod_processes,
        ),
        pass_on=parse_names(settings.pod_env),
        uids=parse_uids(settings.pod_uids),
        hides_folders=settings.pod_hide_folders,
    )


def default_replicas(settings: Settings) -> Replicas:
    """Return the replicas of a version that declares none."""
    low, high = settings.pod_min_replicas, settings.pod_max_replicas
    return Replicas(min=low, max=max(low, high), target_in_flight=settings.pod_target_in_flight)
