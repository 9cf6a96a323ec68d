"""The protocol by which the control API reads the output of pods from a pod driver."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Protocol

import msgspec

from kubefox.formats import OptionalName, OptionalPodId, Range, UnixTime, documented
from kubefox.pod import LogLine

DEFAULT_TAIL = 100
MAX_TAIL = 10_000


class LogQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects lines of pods' output. An empty name matches every line.

    Attributes:
        component: Name of the component.
        pod: Id of the pod.
        deployment: Name of the deployment; only lines of handlers have one.
        virtual_environment: Name of the virtual environment; only lines of handlers have one.
        since_s: Unix time in seconds; older lines are left out.
        tail: Number of the latest lines of each pod to begin with.
        follow: Send new lines until the client disconnects.
    """

    component: OptionalName = ""
    pod: OptionalPodId = ""
    deployment: OptionalName = ""
    virtual_environment: OptionalName = ""
    since_s: UnixTime = 0
    tail: Annotated[int, documented(Range(minimum=0, maximum=MAX_TAIL))] = DEFAULT_TAIL
    follow: bool = False

    def matches(self, line: LogLine) -> bool:
        """Return whether a line matches. Its JSON is decoded only if the query needs its fields."""
        if line.at_s < self.since_s or not self.matches_pod(line):
            return False
        conditions = (
            ("deployment", self.deployment),
            ("virtual_environment", self.virtual_environment),
        )
        given = [(key, name) for key, name in conditions if name]
        fields = line.fields if given else {}
        return all(fields.get(key) == name for key, name in given)

    def matches_pod(self, line: LogLine) -> bool:
        """Return whether the component and the pod of a line match."""
        return self.component in {"", line.component} and self.pod in {"", line.pod}


class PodLogReader(Protocol):
    """Reads the output of the pods of one driver."""

    def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the lines that match. Between tail and follow no line is repeated or left out.

        Closing the iterator stops following and frees its resources.
        """
        ...
