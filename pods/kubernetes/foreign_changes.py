"""Puts back the Deployments that others change or delete, ever less often if they go on.

Each change of a Deployment's spec gives it a higher generation. One that is higher than that of the
driver's own last write is somebody else's. Fields that the driver does not write stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from pods.kubernetes.cluster_pod import Condition
from pods.kubernetes.follow import Meta
from pods.kubernetes.workload import Workload

logger = logging.getLogger(__name__)

FIRST_DELAY_S = 10.0
"""Pause before a Deployment is put back for the second time; it doubles with each further time."""

MAX_DELAY_S = 600.0
QUIET_S = 600.0
"""After so long without a change by others, the next one is put back at once again."""


_NO_SPEC = msgspec.Raw(b"{}")


class DeploymentMeta(Meta, frozen=True, kw_only=True, rename="camel"):
    """The metadata of a Deployment.

    Attributes:
        generation: Counts the changes of its spec.
    """

    generation: int = 0


class DeploymentStatus(msgspec.Struct, frozen=True):
    """The state of a Deployment, as Kubernetes tells it."""

    conditions: Sequence[Condition] = ()


class ClusterDeployment(msgspec.Struct):
    """A Deployment of the cluster.

    Attributes:
        metadata: Its metadata.
        spec: JSON of its spec; see ``take_spec``.
        status: Its status.
    """

    metadata: DeploymentMeta
    spec: msgspec.Raw = _NO_SPEC
    status: DeploymentStatus = DeploymentStatus()

    def take_spec(self) -> bytes:
        """Return the JSON of its spec, and forget it: it would keep a whole list in memory."""
        spec, self.spec = bytes(self.spec), _NO_SPEC
        return spec


class ForeignChanges:
    """Follows the Deployments of a driver.

    Args:
        find: Returns the workload of a Deployment's name, if there is one.
        put_back: Writes the Deployment of a workload again, in the background.
    """

    def __init__(
        self, find: Callable[[str], Workload | None], put_back: Callable[[Workload], None]
    ) -> None:
        self._find = find
        self._put_back = put_back
        self._pending: dict[str, asyncio.TimerHandle] = {}
        self._next_delays_s: dict[str, float] = {}
        self._changed_at_s: dict[str, float] = {}

    def on_deployment(self, deployment: ClusterDeployment) -> None:
        """Take over a new or changed Deployment."""
        workload = self._find(deployment.metadata.name)
        # While a write is not answered yet, any change may be its own.
        if workload is None or workload.applied is None:
            return
        if deployment.metadata.generation > workload.generation:
            workload.generation = deployment.metadata.generation
            self._put_back_later(workload, "changed")

    def on_deleted(self, deployment: ClusterDeployment) -> None:
        """Take over that a Deployment is gone."""
        workload = self._find(deployment.metadata.name)
        if workload is not None and workload.applied is not None and workload.wanted:
            self._put_back_later(workload, "deleted")

    def close(self) -> None:
        """Put nothing back any more."""
        for timer in self._pending.values():
            timer.cancel()

    def _put_back_later(self, workload: Workload, how: str) -> None:
        name, loop = workload.name, asyncio.get_running_loop()
        is_quiet = loop.time() - self._changed_at_s.get(name, -QUIET_S) >= QUIET_S
        self._changed_at_s[name] = loop.time()
        if name in self._pending:
            return
        delay_s = 0.0 if is_quiet else self._next_delays_s[name]
        self._next_delays_s[name] = min(max(FIRST_DELAY_S, 2 * delay_s), MAX_DELAY_S)
        logger.warning("Deployment %s was %s by others: put back in %g s", name, how, delay_s)
        self._pending[name] = loop.call_later(delay_s, self._do, workload)

    def _do(self, workload: Workload) -> None:
        del self._pending[workload.name]
        workload.forget_written()
        self._put_back(workload)
