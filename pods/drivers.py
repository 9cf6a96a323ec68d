"""Which pod drivers are installed: entry points of the group ``fox.pod_drivers``."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from broker import plugins
from pods.base import PodDriver
from pods.bundle_folders import Fetch
from pods.logs import PodLogs

GROUP = "fox.pod_drivers"


class PodDriverFactory(Protocol):
    """What an entry point names: usually the driver's class."""

    def __call__(
        self,
        *,
        data_dir: Path,
        nats_url: str,
        fetch: Fetch,
        logs: PodLogs,
        grace_s: float,
        liveness_s: float,
        log_format: str,
        log_level: str,
    ) -> PodDriver:
        """Return a driver that runs no pod yet.

        Args:
            data_dir: Folder that the driver may keep things in.
            nats_url: Where pods connect.
            fetch: Returns the bundle of a hash.
            logs: Takes pods' output.
            grace_s: How long a pod may drain before it is ended.
            liveness_s: How long a pod's event loop may stand still before it is ended; 0: for ever.
            log_format: Of the pods: ``json`` or ``console``.
            log_level: Of the pods.
        """


def load(name: str) -> PodDriverFactory:
    """Return the factory of a driver. It is imported, so not within an event loop.

    Raises:
        NotFound: No such driver is installed.
    """
    factory: PodDriverFactory = plugins.load(GROUP, name)
    return factory
