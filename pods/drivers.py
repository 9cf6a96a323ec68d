"""The installed pod drivers: entry points of the group ``fox.pod_drivers``."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from broker.nats.bus import Bus
from broker.runtime import plugins
from pods.base import PodDriver
from pods.bundle_folders import FetchBundle
from pods.liveness import LivenessBounds
from pods.logins import Logins
from pods.logs import PodLogs
from pods.rights import PodRights

GROUP = "fox.pod_drivers"


class PodDriverFactory(Protocol):
    """The object that an entry point names: usually the driver's class."""

    def __call__(
        self,
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
    ) -> PodDriver:
        """Return a driver that runs no pod yet.

        Args:
            data_dir: Folder in which the driver may store files.
            logins: Makes the logins of pods to NATS.
            fetch: Returns the bundle of a hash.
            logs: Stores the pods' output.
            grace_s: How long a pod may drain before it is killed.
            liveness: How long a pod's event loop may stand still before the pod is killed.
            log_format: Log format of the pods: ``json`` or ``console``.
            log_level: Log level of the pods.
            rights: Rights of the pods.
            bus: Connection of the platform to NATS.
            image: Image of the pods, for drivers that need one.
            template: Further fields of the pods, as JSON, for drivers of a cluster.
            image_repositories: Repositories of the images that components may name, separated by
                commas, for drivers of a cluster.
        """


def load(name: str) -> PodDriverFactory:
    """Return the factory of a driver.

    This imports the driver, which blocks: do not call it within an event loop.

    Raises:
        NotFound: No driver of this name is installed.
    """
    factory: PodDriverFactory = plugins.load(GROUP, name)
    return factory
