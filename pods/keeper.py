"""Keeps one pod running: starts it, starts it again when it dies, stops it when cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from model.errors import FoxError
from model.pod import PodPhase, PodStatus
from pods.backoff import BackOff
from pods.base import Pod, PodDriver, PodSpec

logger = logging.getLogger(__name__)

# A start holds its slot until the pod is ready, but one that hangs must not hold up the others.
SLOT_S = 5.0


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What all keepers of a reconciler share.

    Attributes:
        driver: Runs the pods.
        slots: Bounds how many start at once.
        start_deadline_s: How long a pod may take until it is ready.
        report: Called with each new status.
        tell_gone: Called when whatever waits for a pod waits in vain.
    """

    driver: PodDriver
    slots: asyncio.Semaphore
    start_deadline_s: float
    report: Callable[[PodStatus], None]
    tell_gone: Callable[[PodStatus], Awaitable[None]]


class Keeper:
    """One pod's life over all its restarts.

    Args:
        status: Who the pod is; its latest status is kept here.
        find_spec: Returns what to run, asked before each start; raises FoxError if it cannot.
        surroundings: Shared with the other keepers.
    """

    def __init__(
        self,
        status: PodStatus,
        find_spec: Callable[[PodStatus], PodSpec],
        surroundings: Surroundings,
    ) -> None:
        """Prepare; nothing runs before ``run``."""
        self.status = status
        self._find_spec = find_spec
        self._around = surroundings
        self._back_off = BackOff()
        self._ready_at_s = 0.0

    @property
    def ready_at_s(self) -> float | None:
        """Since when the pod has been ready, on the monotonic clock; None while it is not."""
        return self._ready_at_s if self.status.phase is PodPhase.READY else None

    async def run(self) -> None:
        """Keep the pod running until cancelled; then let it drain and return when it is gone."""
        while True:
            self._ready_at_s = 0
            message = await self._run_once()
            ready_for_s = time.monotonic() - self._ready_at_s if self._ready_at_s else 0
            self._back_off = self._back_off.after_death(ready_for_s)
            delay_s = self._back_off.delay_s
            logger.warning("pod %s %s; next start in %g s", self.status.id, message, delay_s)
            self._set(phase=PodPhase.BACK_OFF, message=message, pid=None)
            await asyncio.sleep(delay_s)
            # Once more: NATS may have sent the dead process an event after the first time.
            await self._around.tell_gone(self.status)
            self._set(restarts=self.status.restarts + 1)

    async def _run_once(self) -> str:
        """Run the pod until it is gone, and return why."""
        self._set(phase=PodPhase.STARTING, started_at_s=time.time(), message="")
        try:
            return await self._serve(self._find_spec(self.status))
        except FoxError as error:
            return f"cannot be started: {error.detail}"
        except Exception:
            logger.exception("pod %s cannot be run", self.status.id)
            return "cannot be run: the platform's log tells why"

    async def _serve(self, spec: PodSpec) -> str:
        failure = ""
        async with contextlib.AsyncExitStack() as stack:
            pod, deadline_s = await self._start(spec, stack)
            try:
                async with asyncio.timeout_at(deadline_s):
                    if await pod.wait_ready():
                        self._set_ready()
            except TimeoutError:
                failure = f"was not ready within {self._around.start_deadline_s:g} s"
                pod.kill()
            await pod.wait_gone()
            await self._around.tell_gone(self.status)
        return failure or pod.end.message

    async def _start(self, spec: PodSpec, stack: contextlib.AsyncExitStack) -> tuple[Pod, float]:
        """Return the pod, which may not be ready yet, and when it has to be (loop time)."""
        async with self._around.slots:
            pod = await stack.enter_async_context(self._running(spec))
            self._set(pid=pod.pid)
            deadline_s = asyncio.get_running_loop().time() + self._around.start_deadline_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(SLOT_S, self._around.start_deadline_s)):
                    await pod.wait_ready()
        return pod, deadline_s

    @contextlib.asynccontextmanager
    async def _running(self, spec: PodSpec) -> AsyncIterator[Pod]:
        """Run the pod, and show that it is being stopped while it drains."""
        pod: Pod | None = None
        try:
            async with self._around.driver.run(spec) as pod:
                try:
                    yield pod
                except asyncio.CancelledError:
                    self._set(phase=PodPhase.STOPPING)
                    raise
        except asyncio.CancelledError:
            if pod is not None and not pod.end.is_clean:
                await self._around.tell_gone(self.status)
            raise

    def _set_ready(self) -> None:
        self._ready_at_s = time.monotonic()
        self._set(phase=PodPhase.READY)
        took_s = time.time() - self.status.started_at_s
        logger.info("pod %s is ready after %.1f s", self.status.id, took_s)

    def _set(self, **changes: object) -> None:
        self.status = msgspec.structs.replace(self.status, **changes)
        self._around.report(self.status)
