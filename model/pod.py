"""A pod: one process that serves one component version."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from model.decoding import UNREADABLE
from model.distill import Version

_decode_fields = msgspec.json.Decoder(dict[str, Any]).decode


class PodPhase(Enum):
    """Where a pod is in its life."""

    STARTING = "starting"
    READY = "ready"
    BACK_OFF = "back-off"
    STOPPING = "stopping"


class PodStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the reconciler knows of one pod; stored in the pods bucket under ``key``.

    Attributes:
        id: ``<component>-<short hash>-<suffix>``, kept over restarts.
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        phase: Where it is in its life.
        restarts: How often it was started again after it died.
        started_at_s: Unix time of the latest start.
        pid: Process id, for the local driver.
        message: Why it is in back-off, or empty.
    """

    id: str
    app: str
    component: str
    hash: str
    phase: PodPhase
    restarts: int = 0
    started_at_s: float = 0
    pid: int | None = None
    message: str = ""

    @property
    def key(self) -> str:
        """KV key: one pod's entry below its component version's."""
        return f"{self.app}.{self.component}.{self.hash}.{self.id}"

    @property
    def version(self) -> Version:
        """The component version that it serves."""
        return Version(self.app, self.component, self.hash)


class Sleeper(msgspec.Struct, frozen=True, kw_only=True):
    """A component version without a pod: nobody used it, and its next event starts one again.

    It has been ready before under this very hash, so whoever waits for it to be ready need not.

    Attributes:
        app: Name of the app.
        component: Name of the component.
        hash: Full content hash.
        since_s: Unix time at which its pod was told to end.
    """

    app: str
    component: str
    hash: str
    since_s: float = 0

    @property
    def key(self) -> str:
        """KV key on the pod board: a word shorter than those of pods."""
        return f"{self.app}.{self.component}.{self.hash}"

    @property
    def version(self) -> Version:
        """The component version that it is."""
        return Version(self.app, self.component, self.hash)


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pod's output.

    Attributes:
        pod: Id of the pod.
        component: Name of its component.
        hash: Full content hash.
        line: The text, without its line end; a very long line comes in several.
        app: Name of its app.
        at_s: Unix time at which it was read.
    """

    pod: str
    component: str
    hash: str
    line: str
    app: str = ""
    at_s: float = 0

    @property
    def fields(self) -> dict[str, Any]:
        """What a line says that was logged as JSON; nothing for any other."""
        if not self.line.startswith("{"):
            return {}
        try:
            return _decode_fields(self.line)
        except UNREADABLE:
            return {}
