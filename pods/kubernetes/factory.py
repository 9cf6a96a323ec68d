"""Makes the Kubernetes driver from the settings of the platform."""

from __future__ import annotations

import math
import os
from functools import partial
from pathlib import Path

from broker.nats.bus import Bus
from kubefox.errors import InvalidRequest
from pods.bundle_folders import FetchBundle
from pods.kubernetes.cluster import load_cluster
from pods.kubernetes.driver import KubernetesDriver
from pods.kubernetes.manifests import PodSettings
from pods.kubernetes.own_images import parse_repositories
from pods.kubernetes.pod_template import parse_template
from pods.liveness import Liveness, LivenessBounds
from pods.logins import Logins
from pods.logs import PodLogs
from pods.pod_environ import for_cluster
from pods.rights import PodRights


def kubernetes_driver(
    *,
    data_dir: Path,
    logins: Logins,
    fetch: FetchBundle,
    logs: PodLogs,
    grace_s: float,
    liveness: LivenessBounds,
    log_format: str,
    log_level: str,
    rights: PodRights,
    bus: Bus,
    image: str,
    template: str,
    image_repositories: str,
) -> KubernetesDriver:
    """Return a driver that runs no pod yet; see ``pods.drivers.PodDriverFactory``.

    Raises:
        InvalidRequest: No image is set, or the template or a repository is not valid.
    """
    if not image:
        raise InvalidRequest(
            "FOX_POD_IMAGE is not set: the pod driver kubernetes needs the platform's image"
        )
    beats = Liveness(liveness)
    settings = PodSettings(
        image=image,
        image_repositories=parse_repositories(image_repositories),
        template=parse_template(template),
        environ={
            **for_cluster(os.environ, rights.pass_on),
            "FOX_LOG_FORMAT": log_format,
            "FOX_LOG_LEVEL": log_level,
        },
        grace_s=grace_s,
        alive_s=liveness.alone_s + beats.idle_beat_s if liveness.alone_s else math.inf,
        busy_beat_s=beats.busy_beat_s,
        idle_beat_s=beats.idle_beat_s,
        memory_bytes=rights.limits.memory_bytes,
    )
    return KubernetesDriver(
        find_cluster=partial(load_cluster, os.environ),
        bus=bus,
        data_dir=data_dir,
        logins=logins,
        fetch=fetch,
        logs=logs,
        settings=settings,
    )
