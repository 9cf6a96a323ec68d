"""One replica of a workload: a place that one pod of the Deployment fills at a time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from kubefox.distill import Version
from pods.base import PodEnd, PodReport, PodSpec
from pods.kubernetes.cluster_pod import SIGNALLED, ClusterPod, Terminated


class Replica:
    """A pod of a version for the supervisor that asked for it; a ``pods.base.Pod``.

    Args:
        spec: The pod that was asked for.
        grace_s: How long it may drain.
        kill: Deletes a pod of the cluster soon, with the least grace time.

    Attributes:
        pod: Its pod of the cluster, or None while there is none.
        creation_fault: Why Kubernetes cannot create pods of its version, or empty.
    """

    def __init__(self, spec: PodSpec, grace_s: float, kill: Callable[[ClusterPod], None]) -> None:
        self._spec = spec
        self._grace_s = grace_s
        self._kill = kill
        self._ends_before = 0
        self._was_ready = False
        self._was_stopped = False
        self._was_killed = False
        self._is_left = False
        self._end: Terminated | None = None
        self._fault = ""
        self._on_report: Callable[[PodReport], None] | None = None
        self._ready_or_gone = asyncio.Event()
        self._gone = asyncio.Event()
        self._deleted = asyncio.Event()
        self.pod: ClusterPod | None = None
        self.creation_fault = ""

    @property
    def pid(self) -> int | None:
        """None: it is no process of this machine."""
        return None

    @property
    def name(self) -> str:
        """Name of the pod of the cluster; empty until it is known."""
        return "" if self.pod is None else self.pod.metadata.name

    @property
    def id(self) -> str:
        """The id by which the platform knows it."""
        return self._spec.id

    @property
    def version(self) -> Version:
        """The component version that it serves."""
        return self._spec.version

    @property
    def is_gone(self) -> bool:
        """Whether its process has ended."""
        return self._gone.is_set()

    @property
    def was_killed(self) -> bool:
        """Whether it was to be ended at once."""
        return self._was_killed

    @property
    def end(self) -> PodEnd:
        """How its process ended."""
        if self._is_left and not self.is_gone:
            return PodEnd(message="runs on without this process", is_clean=True)
        if self._end is None:
            return PodEnd(message=self._fault or "was deleted from the cluster", is_clean=False)
        code = self._end.exit_code
        if self._was_stopped and code == SIGNALLED + signal.SIGKILL:
            return PodEnd(message=f"did not stop within {self._grace_s:g} s", is_clean=False)
        return PodEnd(message=self._end.cause, is_clean=code == 0)

    async def wait_ready(self) -> bool:
        """Return True once it serves, False if it ended before."""
        await self._ready_or_gone.wait()
        return self._was_ready

    async def wait_gone(self) -> None:
        """Return once its process has ended."""
        await self._gone.wait()

    async def wait_deleted(self) -> None:
        """Return once its pod is gone from the cluster."""
        await self._deleted.wait()

    def listen(self, on_report: Callable[[PodReport], None]) -> None:
        """Call back now, and whenever what is known of its pod changes."""
        self._on_report = on_report
        self.report()

    def report(self) -> None:
        """Tell what is known of its pod, unless its end was asked for."""
        if self._on_report is None or self.is_gone or self._was_stopped:
            return
        pod, image = self.pod, self._spec.runtime.image
        if pod is None:
            self._on_report(PodReport(image=image, fault=self.creation_fault))
            return
        self._on_report(
            PodReport(
                name=pod.metadata.name,
                node=pod.spec.node_name,
                image=image,
                restarts=pod.restarts,
                fault=pod.fault,
                is_lost=pod.is_lost and self._was_ready,
            )
        )

    def kill(self) -> None:
        """End its pod with the least grace time; it has ended at once if it has none."""
        if self.is_gone:
            return
        self._was_killed = True
        if self.pod is not None:
            self._kill(self.pod)
        else:
            self._set_gone()

    def stop(self) -> None:
        """Note that its end was asked for."""
        self._was_stopped = True

    def leave_running(self) -> None:
        """Note that its pod runs on, and that another process takes it over."""
        self._is_left = True

    def abandon(self) -> None:
        """Note that it was not started; its place is kept."""
        self._set_gone()

    def bind(self, pod: ClusterPod) -> None:
        """Make a pod of the cluster the one of this replica."""
        self.pod = pod
        self._ends_before = pod.ends
        self.follow(pod)
        self.report()

    def follow(self, pod: ClusterPod) -> bool:
        """Take over a change of its pod; return False if it needs another pod.

        A pod that is deleted before it was ready, by others, is replaced by another one. So is one
        that has ended for good without its container. One on a lost node is gone as soon as
        Kubernetes deletes it: the node cannot end it.
        """
        self.pod = pod
        was_ended_by_us = self._was_stopped or self._was_killed
        if pod.ends > self._ends_before:
            self._end = pod.last_end
            if not self._was_stopped:
                self._set_gone()
        elif pod.is_leaving or pod.is_over:
            if not (self._was_ready or was_ended_by_us):
                self.pod = None
                return False
            if not was_ended_by_us and (pod.is_lost or pod.is_over):
                self._fault = pod.fault
                self._set_gone()
        elif pod.is_ready:
            self._was_ready = True
            self._ready_or_gone.set()
        return True

    def lose(self, pod: ClusterPod) -> None:
        """Take over that its pod is gone from the cluster."""
        if pod.ends > self._ends_before:
            self._end = pod.last_end
        self._deleted.set()
        self._set_gone()

    def _set_gone(self) -> None:
        self._gone.set()
        self._ready_or_gone.set()
