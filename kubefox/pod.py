"""A pod: one process that serves one component version."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from kubefox.decoding import DECODE_ERRORS
from kubefox.distill import Version
from kubefox.status import Check

_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


class PodPhase(Enum):
    """The phase of a pod's life."""

    STARTING = "starting"
    READY = "ready"
    BACK_OFF = "back-off"
    STOPPING = "stopping"
    UNKNOWN = "unknown"


class PodStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one pod; the reconciler stores it in the pods bucket under ``key``.

    Attributes:
        id: ``<component>-<short hash>-<suffix>``; restarts keep it.
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        phase: Phase of its life.
        restarts: How often it was restarted after it died.
        failed_starts: How often in a row it has died without having become ready.
        started_at_s: Unix time of the latest start.
        pid: Process id, for the local driver.
        message: Reason of the back-off, why it is not ready yet, or why its state is not known; or
            empty.
        runner: Name of the pod runner that runs it.
        name: Its name in the cluster, for the Kubernetes driver.
        node: Name of its node in the cluster, for the Kubernetes driver.
        image: Container image that its component names, for the Kubernetes driver; or empty.
    """

    id: str
    app: str
    component: str
    hash: str
    phase: PodPhase
    restarts: int = 0
    failed_starts: int = 0
    started_at_s: float = 0
    pid: int | None = None
    message: str = ""
    runner: str = ""
    name: str = ""
    node: str = ""
    image: str = ""

    @property
    def nats_id(self) -> str:
        """The id that its process has on NATS."""
        return self.name or self.id

    @property
    def key(self) -> str:
        """KV key: the pod's id below the key of its component version."""
        return f"{self.app}.{self.component}.{self.hash}.{self.id}"

    @property
    def version(self) -> Version:
        """The component version that it serves."""
        return Version(self.app, self.component, self.hash)


class IdleVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A component version whose pods were stopped because it was unused.

    Its next event starts a pod. The version counts as ready, because it was ready with this hash.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        since_s: Unix time at which its pod was stopped.
    """

    app: str
    component: str
    hash: str
    since_s: float = 0

    @property
    def key(self) -> str:
        """KV key on the pod board: that of a pod without the id."""
        return f"{self.app}.{self.component}.{self.hash}"

    @property
    def version(self) -> Version:
        """The component version."""
        return Version(self.app, self.component, self.hash)


class RunnerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A pod runner: a process that runs a pod of every component version in use.

    Attributes:
        name: Unique among the runners of one NATS; a restart keeps it.
        started_at_s: Unix time of its start.
        pid: Its process id.
        protections: Of its pods, if its driver tells them.
    """

    name: str
    started_at_s: float = 0
    pid: int = 0
    protections: Check | None = None

    @property
    def key(self) -> str:
        """KV key on the pod board."""
        return f"runner.{self.name}"


class RecentUse(msgspec.Struct, frozen=True, kw_only=True):
    """The component versions that were used lately; their pods start before others.

    Attributes:
        hashes: Full content hashes, sorted.
    """

    hashes: tuple[str, ...]

    @property
    def key(self) -> str:
        """KV key on the pod board."""
        return "recent-use"


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pod's output.

    Attributes:
        pod: Id of the pod.
        component: Name of its component.
        hash: Full content hash.
        line: The text without its line end; a very long line is split.
        app: Name of its app.
        at_s: Unix time at which it was read.
        is_notice: Whether it is no output, but tells that some of it cannot be read, and why.
    """

    pod: str
    component: str
    hash: str
    line: str
    app: str = ""
    at_s: float = 0
    is_notice: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a line that was logged as JSON; empty for other lines."""
        if not self.line.startswith("{"):
            return {}
        try:
            return _decode_fields(self.line)
        except DECODE_ERRORS:
            return {}
