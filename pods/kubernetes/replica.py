"""One replica of a workload: a place that one pod of the Deployment fills at a time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

import msgspec

from kubefox.distill import Version
from pods.base import PodEnd, PodSpec
from pods.exit_reason import exit_reason
from pods.kubernetes.follow import Meta

_SIGNALLED = 128


class Terminated(msgspec.Struct, frozen=True, rename="camel"):
    """How a container has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""


class Waiting(msgspec.Struct, frozen=True):
    """Why a container does not run yet, or not again yet."""

    reason: str = ""


class State(msgspec.Struct, frozen=True):
    """The state of a container: one of them, or none while it runs."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a container."""

    restart_count: int = 0
    state: State = State()
    last_state: State = State()


class Condition(msgspec.Struct, frozen=True):
    """One condition of a pod."""

    type: str
    status: str


class PodConditions(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a pod, as far as the driver needs it."""

    conditions: Sequence[Condition] = ()
    container_statuses: Sequence[ContainerStatus] = ()


class ClusterPod(msgspec.Struct, frozen=True):
    """A pod of the cluster."""

    metadata: Meta
    status: PodConditions = PodConditions()

    @property
    def is_ready(self) -> bool:
        """Whether its component serves."""
        states = {each.type: each.status for each in self.status.conditions}
        return states.get("Ready") == "True"

    @property
    def is_leaving(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    @property
    def ends(self) -> int:
        """How often its container has ended; Kubernetes starts it again each time."""
        if not self.status.container_statuses:
            return 0
        container = self.status.container_statuses[0]
        is_down = container.state.terminated is not None or (
            container.state.waiting is not None and container.last_state.terminated is not None
        )
        return container.restart_count + is_down

    @property
    def last_end(self) -> Terminated | None:
        """How its container has ended last."""
        if not self.status.container_statuses:
            return None
        container = self.status.container_statuses[0]
        return container.state.terminated or container.last_state.terminated


class Replica:
    """A pod of a version for the supervisor that asked for it; a ``pods.base.Pod``.

    Args:
        spec: The pod that was asked for.
        grace_s: How long it may drain.
        kill: Deletes a pod of the cluster soon, with the least grace time.
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
        self._ready_or_gone = asyncio.Event()
        self._gone = asyncio.Event()
        self._deleted = asyncio.Event()
        self.pod: ClusterPod | None = None

    @property
    def pid(self) -> int | None:
        """None: it is no process of this machine."""
        return None

    @property
    def name(self) -> str:
        """Name of the pod of the cluster; empty until it is known."""
        return "" if self.pod is None else self.pod.metadata.name

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
            return PodEnd(message="was deleted from the cluster", is_clean=False)
        code = self._end.exit_code
        if self._was_stopped and code == _SIGNALLED + signal.SIGKILL:
            return PodEnd(message=f"did not stop within {self._grace_s:g} s", is_clean=False)
        reason = exit_reason(_last_line(self._end.message)) if code else ""
        message = _describe(code, self._end.reason)
        return PodEnd(message=f"{message}: {reason}" if reason else message, is_clean=code == 0)

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

    def follow(self, pod: ClusterPod) -> bool:
        """Take over a change of its pod; return False if it needs another pod.

        A pod that is deleted before it was ready, by others, is replaced by another one.
        """
        self.pod = pod
        if pod.ends > self._ends_before:
            self._end = pod.last_end
            if not self._was_stopped:
                self._set_gone()
        elif pod.is_leaving and not (self._was_ready or self._was_stopped or self._was_killed):
            self.pod = None
            return False
        elif pod.is_ready and not pod.is_leaving:
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


def _describe(code: int, reason: str) -> str:
    if reason == "OOMKilled":
        return "was killed because it exceeded its memory limit"
    if code <= _SIGNALLED:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(code - _SIGNALLED).name}"
    except ValueError:
        return f"exited with code {code}"


def _last_line(output: str) -> str:
    return output.rstrip().rpartition("\n")[2]
