"""Supervise one pod: start it, restart it when it dies, stop it when cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec

from kubefox.distill import Version
from kubefox.errors import FoxError
from kubefox.pod import PodPhase, PodStatus
from pods.backoff import BackOff
from pods.base import Pod, PodDriver, PodReport, PodSpec
from pods.start_slots import StartSlots

logger = logging.getLogger(__name__)

# A start occupies a slot until the pod is ready, but one that hangs must not block the others.
SLOT_S = 5.0
# Deaths in a row after which no request waits for the next start; the delays before it are 1.5 s.
MAX_AWAITED_DEATHS = 4
_MAY_RECOVER = {PodPhase.STARTING, PodPhase.UNKNOWN, PodPhase.BACK_OFF}


class PodDependencies(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that all supervisors of a reconciler share.

    Attributes:
        driver: Runs the pods.
        start_slots: Bounds the number of pods that start at the same time.
        urgency: Returns how urgent the start of a pod of a version is now, the lowest first.
        start_deadline_s: How long a pod may take until it is ready.
        on_status: Called with each new status.
        announce_gone: Called when a pod has ended and may have left events unanswered.
        has_replica: Returns whether another pod that is ready serves the version of this one.
    """

    driver: PodDriver
    start_slots: StartSlots
    urgency: Callable[[Version], int]
    start_deadline_s: float
    on_status: Callable[[PodStatus], None]
    announce_gone: Callable[[PodStatus], Awaitable[None]]
    has_replica: Callable[[PodStatus], bool]


class PodSupervisor:
    """One pod, from its first start over all its restarts.

    Args:
        status: The pod's first status; ``status`` holds the latest one.
        find_spec: Returns what to run, called before each start; raises FoxError if it is unknown.
        dependencies: Shared with the other supervisors.
    """

    def __init__(
        self,
        status: PodStatus,
        find_spec: Callable[[PodStatus], PodSpec],
        dependencies: PodDependencies,
    ) -> None:
        self.status = status
        self._find_spec = find_spec
        self._dependencies = dependencies
        self._back_off = BackOff()
        self._ready_at_s = 0.0
        self._was_ready = False
        self._pod: Pod | None = None

    @property
    def nats_id(self) -> str:
        """The id that its process has on NATS now."""
        return (self._pod.name if self._pod is not None else "") or self.status.nats_id

    @property
    def is_recovering(self) -> bool:
        """Whether the pod is not ready, and likely to be soon.

        That is so at its first start, and after the death of a pod that was ready before, unless
        it dies again and again.
        """
        phase = self.status.phase
        if not self._was_ready:
            return phase is PodPhase.STARTING and not self._back_off.deaths
        may_recover = self._back_off.deaths <= MAX_AWAITED_DEATHS
        return phase in _MAY_RECOVER and may_recover

    @property
    def ready_at_s(self) -> float | None:
        """Time since which the pod has been ready (``time.monotonic``); None while it is not."""
        return self._ready_at_s if self.status.phase is PodPhase.READY else None

    async def run(self) -> None:
        """Keep the pod running until cancelled; then drain it and return when it has ended."""
        while True:
            self._ready_at_s = 0
            message = await self._run_once()
            ready_for_s = time.monotonic() - self._ready_at_s if self._ready_at_s else 0
            failed_starts = 0 if self._ready_at_s else self.status.failed_starts + 1
            self._back_off = self._back_off.after_death(ready_for_s)
            delay_s = self._back_off.delay_s
            logger.warning("pod %s %s; next start in %g s", self.status.id, message, delay_s)
            self._set_status(
                phase=PodPhase.BACK_OFF, message=message, pid=None, failed_starts=failed_starts
            )
            await asyncio.sleep(delay_s)
            # Again: NATS may have sent the dead process an event after the first announcement.
            await self._dependencies.announce_gone(self.status)
            self._set_status(restarts=self.status.restarts + 1)

    async def _run_once(self) -> str:
        """Run the pod until it has ended, and return the reason."""
        self._set_status(phase=PodPhase.STARTING, started_at_s=time.time(), message="")
        try:
            return await self._start_and_watch(self._find_spec(self.status))
        except FoxError as error:
            return f"cannot be started: {error.detail}"
        except Exception:
            logger.exception("pod %s cannot be run", self.status.id)
            return "cannot be run: see the platform's log"

    async def _start_and_watch(self, spec: PodSpec) -> str:
        failure = ""
        async with contextlib.AsyncExitStack() as stack:
            pod, deadline_s = await self._start(spec, stack)
            try:
                async with asyncio.timeout_at(deadline_s):
                    if await pod.wait_ready():
                        self._set_ready(pod.name)
            except TimeoutError:
                failure = f"was not ready within {self._dependencies.start_deadline_s:g} s"
                if self.status.message:
                    failure += f": it {self.status.message}"
                pod.kill()
            await pod.wait_gone()
            await self._dependencies.announce_gone(self.status)
        return failure or pod.end.message

    async def _start(self, spec: PodSpec, stack: contextlib.AsyncExitStack) -> tuple[Pod, float]:
        """Return the pod, which may not be ready yet, and the loop time at which it must be."""
        urgency = partial(self._dependencies.urgency, self.status.version)
        async with self._dependencies.start_slots.hold(urgency):
            pod = self._pod = await stack.enter_async_context(self._run_pod(spec))
            self._set_status(pid=pod.pid)
            pod.listen(self._on_report)
            deadline_s = asyncio.get_running_loop().time() + self._dependencies.start_deadline_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(SLOT_S, self._dependencies.start_deadline_s)):
                    await pod.wait_ready()
        return pod, deadline_s

    @contextlib.asynccontextmanager
    async def _run_pod(self, spec: PodSpec) -> AsyncIterator[Pod]:
        """Run the pod, and report that it is stopping while it drains."""
        pod: Pod | None = None
        try:
            async with self._dependencies.driver.run(spec, self._has_replica) as pod:
                try:
                    yield pod
                except asyncio.CancelledError:
                    self._set_status(phase=PodPhase.STOPPING)
                    raise
        except asyncio.CancelledError:
            if pod is not None and not pod.end.is_clean:
                await self._dependencies.announce_gone(self.status)
            raise

    def _has_replica(self) -> bool:
        return self._dependencies.has_replica(self.status)

    def _set_ready(self, name: str) -> None:
        self._ready_at_s = time.monotonic()
        self._was_ready = True
        self._set_status(phase=PodPhase.READY, failed_starts=0, name=name, message="")
        took_s = time.time() - self.status.started_at_s
        logger.info("pod %s is ready after %.1f s", self.status.id, took_s)

    def _on_report(self, report: PodReport) -> None:
        """Show what the driver tells of the pod while it starts or serves."""
        phase, message = self.status.phase, self.status.message
        if phase is PodPhase.STARTING:
            message = report.fault
        elif phase in {PodPhase.READY, PodPhase.UNKNOWN}:
            phase = PodPhase.UNKNOWN if report.is_lost else PodPhase.READY
            message = report.fault if report.is_lost else ""
        else:
            return
        if report.is_lost and message != self.status.message:
            logger.warning("pod %s %s", self.status.id, message)
        self._set_status(
            phase=phase,
            message=message,
            node=report.node,
            image=report.image,
            name=report.name,
            restarts=max(self.status.restarts, report.restarts),
        )

    def _set_status(self, **changes: object) -> None:
        status = msgspec.structs.replace(self.status, **changes)
        if status != self.status:
            self.status = status
            self._dependencies.on_status(status)
