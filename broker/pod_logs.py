"""Where the control API gets pods' output from: a protocol that a pod driver fulfils."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from model.pod import LogLine

DEFAULT_TAIL = 100


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines are wanted; an empty name stands for all.

    Attributes:
        component: Name of the component.
        pod: Id of the pod.
        deployment: Name of the deployment; only lines of handlers have one.
        virtual_environment: Name of the virtual environment; as above.
        since_s: Unix time; older lines are left out.
        tail: How many of the latest lines of each pod come first.
        follow: Whether new lines follow until the reader leaves.
    """

    component: str = ""
    pod: str = ""
    deployment: str = ""
    virtual_environment: str = ""
    since_s: float = 0
    tail: int = DEFAULT_TAIL
    follow: bool = False

    def wants(self, line: LogLine) -> bool:
        """Return whether a line is wanted. It is read only if its fields matter."""
        if line.at_s < self.since_s or not self.wants_pod(line):
            return False
        wanted = (
            ("deployment", self.deployment),
            ("virtual_environment", self.virtual_environment),
        )
        named = [(key, name) for key, name in wanted if name]
        fields = line.fields if named else {}
        return all(fields.get(key) == name for key, name in named)

    def wants_pod(self, line: LogLine) -> bool:
        """Return whether lines of this one's pod may be wanted."""
        return self.component in {"", line.component} and self.pod in {"", line.pod}


class PodLogs(Protocol):
    """Reads the output of the pods of one driver."""

    def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the lines of ``query``: no line twice and none left out between tail and follow.

        Closing the iterator ends the following and frees what it held.
        """
        ...
