"""A pod of the cluster as the API shows it, and what that says of its component."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import msgspec

from kubefox import printable
from pods.exit_reason import exit_reason
from pods.kubernetes.follow import Meta
from pods.kubernetes.manifests import CONTAINER

SIGNALLED = 128
"""The exit code of a container that a signal has ended is higher by this than its number."""

_MAX_CHARACTERS = 400
# Its container is being made: nothing is wrong.
_STARTING = {"", "ContainerCreating", "PodInitializing"}
_BACK_OFF = "CrashLoopBackOff"


class Terminated(msgspec.Struct, frozen=True, rename="camel"):
    """How a container has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""

    @property
    def cause(self) -> str:
        """Why it has ended, for people."""
        last_line = exit_reason(self.message.rstrip().rpartition("\n")[2]) if self.exit_code else ""
        return ": ".join(filter(None, (_describe(self.exit_code, self.reason), last_line)))


class Waiting(msgspec.Struct, frozen=True):
    """Why a container does not run yet, or not again yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, frozen=True):
    """That a container runs."""


class State(msgspec.Struct, frozen=True):
    """The state of a container: one of them."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a container."""

    name: str = ""
    restart_count: int = 0
    state: State = State()
    last_state: State = State()


class Condition(msgspec.Struct, frozen=True):
    """One condition of an object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class PodConditions(msgspec.Struct, frozen=True, rename="camel"):
    """The status of a pod, as far as the driver needs it."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: Sequence[Condition] = ()
    container_statuses: Sequence[ContainerStatus] = ()


class PodPlace(msgspec.Struct, frozen=True, rename="camel"):
    """Where a pod runs."""

    node_name: str = ""


class ClusterPod(msgspec.Struct, frozen=True):
    """A pod of the cluster."""

    metadata: Meta
    spec: PodPlace = PodPlace()
    status: PodConditions = PodConditions()

    @property
    def is_ready(self) -> bool:
        """Whether its component serves."""
        return self._has("Ready")

    @property
    def is_lost(self) -> bool:
        """Whether its node does not answer any more.

        A node says the same of a pod and of its containers. For a node that is lost, Kubernetes
        says that its pods are not ready, and leaves what the node has said of the containers.
        """
        return self._has("ContainersReady") and not self.is_ready

    @property
    def is_leaving(self) -> bool:
        """Whether it is being deleted."""
        return self.metadata.deletion_timestamp is not None

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good, such as an evicted one: Kubernetes makes another one."""
        return self.status.phase in {"Failed", "Succeeded"}

    @property
    def is_running(self) -> bool:
        """Whether its container runs."""
        return self._container is not None and self._container.state.running is not None

    @property
    def has_started(self) -> bool:
        """Whether its container runs, or has run."""
        return self.is_running or self.last_end is not None

    @property
    def restarts(self) -> int:
        """How often its container was started again."""
        return 0 if self._container is None else self._container.restart_count

    @property
    def ends(self) -> int:
        """How often its container has ended; Kubernetes starts it again each time."""
        container = self._container
        if container is None:
            return 0
        is_down = container.state.terminated is not None or (
            container.state.waiting is not None and container.last_state.terminated is not None
        )
        return container.restart_count + is_down

    @property
    def last_end(self) -> Terminated | None:
        """How its container has ended last."""
        container = self._container
        if container is None:
            return None
        return container.state.terminated or container.last_state.terminated

    @property
    def fault(self) -> str:
        """Why it does not serve, for people: what it cannot do; or empty."""
        if self.is_lost:
            return f"is on node {self.spec.node_name}, which does not answer"
        if self.is_over:
            return _joined("has ended for good", self.status.reason, self.status.message)
        for condition in self.status.conditions:
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"cannot be scheduled: {_joined(condition.message or condition.reason)}"
        return self._waiting_fault

    @property
    def _waiting_fault(self) -> str:
        waiting = None if self._container is None else self._container.state.waiting
        if waiting is None or waiting.reason in _STARTING:
            return ""
        if waiting.reason == _BACK_OFF and self.last_end is not None:
            return f"{self.last_end.cause}; Kubernetes starts it again later ({_BACK_OFF})"
        return f"cannot start: {_joined(waiting.reason, waiting.message)}"

    @property
    def _container(self) -> ContainerStatus | None:
        # The cluster may add others, such as the proxy of a service mesh.
        own = (each for each in self.status.container_statuses if each.name == CONTAINER)
        return next(own, None)

    def _has(self, condition: str) -> bool:
        return any(
            each.type == condition and each.status == "True" for each in self.status.conditions
        )


def creation_fault(conditions: Sequence[Condition]) -> str:
    """Return why Kubernetes cannot create pods of a Deployment, for people; or an empty string.

    Args:
        conditions: Of the Deployment.
    """
    for condition in conditions:
        if condition.type == "ReplicaFailure" and condition.status == "True":
            return f"cannot be created: {_joined(condition.message or condition.reason)}"
    return ""


def _joined(*texts: str) -> str:
    """Return texts of the cluster in one line that is not too long."""
    words = ": ".join(filter(None, texts)).split()
    return printable.one_line(" ".join(words))[:_MAX_CHARACTERS]


def _describe(code: int, reason: str) -> str:
    if reason == "OOMKilled":
        return "was killed because it exceeded its memory limit"
    if code <= SIGNALLED:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(code - SIGNALLED).name}"
    except ValueError:
        return f"exited with code {code}"
