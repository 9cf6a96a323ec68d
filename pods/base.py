"""What a pod driver does: it runs one pod, tells when it is ready and when it is gone, stops it.

Drivers differ in where pods run; when to start, restart or stop one is not theirs to decide, see
``pods.reconciler``. See ``pods.drivers`` for which there are.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from model import subjects
from model.digest import RuntimeSpec


class PodSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One pod to run.

    Attributes:
        id: ``<component>-<short hash>-<suffix>``, unique, kept over restarts.
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash, by which the code is found.
        runtime: How that code is run.
    """

    id: str
    app: str
    component: str
    hash: str
    runtime: RuntimeSpec = RuntimeSpec()

    @property
    def subject(self) -> str:
        """Where requests to the pod's component version go."""
        return subjects.component(self.app, self.component, self.hash)


class PodEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a pod ended.

    Attributes:
        message: For people: exit code or signal, and the last line of its output.
        is_clean: Whether it drained, so that nothing it had in hand is lost.
    """

    message: str
    is_clean: bool


class Pod(Protocol):
    """A pod that was started and may have ended since."""

    @property
    def pid(self) -> int | None:
        """Process id, where the pod is a process of this machine."""
        ...

    @property
    def end(self) -> PodEnd:
        """How it ended; complete when the context of ``PodDriver.run`` has been left."""
        ...

    async def wait_ready(self) -> bool:
        """Return True once it serves its subject, False if it ended before."""
        ...

    async def wait_gone(self) -> None:
        """Return at once when the pod has ended."""
        ...

    def kill(self) -> None:
        """End it now, with what it has in hand."""
        ...


class PodDriver(Protocol):
    """Runs pods in one kind of place, many at once."""

    def run(self, spec: PodSpec) -> AbstractAsyncContextManager[Pod]:
        """Run a pod while the context lasts.

        Entering fetches the code and starts the pod, which need not be ready yet. Leaving lets
        the pod drain, ends it if it does not within the driver's grace time, and returns when
        it is gone. Cancelled while it drains, it ends the pod at once.

        Raises:
            FoxError: It cannot be started; the message tells an operator why.
        """
        ...

    async def tidy(self, named: frozenset[str]) -> None:
        """Clear what is kept of versions whose hashes are not ``named``; no pod runs them."""
        ...
