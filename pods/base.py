"""The protocol of pod drivers: start one pod, report when it is ready and when it ended, stop it.

Drivers differ in where pods run. The reconciler (``pods.reconciler``) decides when a pod is
started, restarted and stopped. ``pods.drivers`` finds the installed drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, Self

import msgspec

from kubefox import subjects
from kubefox.component import Dependency
from kubefox.context import source_name
from kubefox.digest import RuntimeSpec
from kubefox.distill import Version
from kubefox.senders import Sender


class PodSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One pod to run.

    Attributes:
        id: ``<component>-<short hash>-<suffix>``, unique, the same after a restart.
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash; the key of its bundle.
        runtime: How the code is run.
        dependencies: Components and adapters that the component declares.
        is_new: Whether this is the first start of the pod.
    """

    id: str
    app: str
    component: str
    hash: str
    runtime: RuntimeSpec = RuntimeSpec()
    dependencies: tuple[Dependency, ...] = ()
    is_new: bool = False

    @property
    def version(self) -> Version:
        """The component version that the pod serves."""
        return Version(self.app, self.component, self.hash)

    @property
    def sender(self) -> Sender:
        """The sender of the pod's messages."""
        return Sender(self.app, source_name(self.component, self.hash))

    @property
    def subject(self) -> str:
        """NATS subject of the pod's component version."""
        return subjects.component(self.app, self.component, self.hash)


class PodEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a pod ended.

    Attributes:
        message: Exit code or signal, and the last line of its output, for people.
        is_clean: Whether it drained, so that it lost no event.
    """

    message: str
    is_clean: bool


class PodReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a pod that has not ended, as its driver tells it.

    Attributes:
        name: Its name in the cluster; empty while there is no such pod.
        node: Name of the machine that it runs on; empty while it has none.
        image: Container image that its component names and in which it runs; or empty.
        restarts: How often its container was started again.
        fault: Why it does not get ready, or cannot be reached, for people; or empty.
        is_lost: Whether it was ready, and its node does not answer any more.
    """

    name: str = ""
    node: str = ""
    image: str = ""
    restarts: int = 0
    fault: str = ""
    is_lost: bool = False


class Pod(Protocol):
    """A pod that was started and may have ended since."""

    @property
    def pid(self) -> int | None:
        """Process id, if the pod is a process of this machine."""
        ...

    @property
    def name(self) -> str:
        """Its id on NATS, if the driver has chosen one; empty if that is the id of its spec."""
        ...

    @property
    def end(self) -> PodEnd:
        """How it ended; complete when the context of ``PodDriver.run`` has been left."""
        ...

    def listen(self, on_report: Callable[[PodReport], None]) -> None:
        """Call back now, and whenever what is told of the pod changes, if the driver tells it."""
        ...

    async def wait_ready(self) -> bool:
        """Return True once it serves its subject, False if it ended before."""
        ...

    async def wait_gone(self) -> None:
        """Return once the pod has ended."""
        ...

    def kill(self) -> None:
        """End the pod at once; the events that it handles are lost."""
        ...


HasReplica = Callable[[], bool]
"""Returns whether another pod that is ready serves the same component version."""


def has_no_replica() -> bool:
    """Return False: a ``HasReplica`` of a pod that is the only one."""
    return False


class PodDriver(Protocol):
    """Runs pods in one kind of place, many at once, while its context lasts."""

    async def __aenter__(self) -> Self:
        """Begin."""
        ...

    async def __aexit__(self, *_exception: object) -> None:
        """End; no pod is run any more."""
        ...

    def detach(self) -> None:
        """Leave the pods running from now on, if they can outlive this process.

        The platform calls this before it ends. Another process of it takes the pods over.
        """
        ...

    def run(
        self, spec: PodSpec, has_replica: HasReplica = has_no_replica
    ) -> AbstractAsyncContextManager[Pod]:
        """Run a pod for the length of the context.

        Entering the context fetches the code and starts the pod, which need not be ready yet.
        Leaving it drains the pod, kills it after the driver's grace time, and returns when it has
        ended. If it is cancelled while the pod drains, it kills the pod at once.

        Args:
            spec: The pod.
            has_replica: A driver that kills hung pods does so earlier while another pod can serve.

        Raises:
            FoxError: The pod cannot be started; the message says why.
        """
        ...

    async def left_pods(self) -> Mapping[Version, int]:
        """Return how many pods an earlier process has left, by version.

        A version is in it until it runs here. The mapping is empty if no pod outlives its process.
        """
        ...

    def pods_of(self, version: Version) -> Collection[str]:
        """Return the ids on NATS of further pods that may have events of a version.

        While a cluster replaces pods, their successors serve before anybody has asked for them.
        """
        ...

    def retire(self, version: Version) -> None:
        """Note that a version has no pod here any more, and is not in use."""
        ...

    async def collect_garbage(self, used_hashes: frozenset[str]) -> None:
        """Remove the stored files of versions whose hashes are not in ``used_hashes``.

        No pod runs such a version.
        """
        ...
