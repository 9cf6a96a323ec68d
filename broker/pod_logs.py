"""Where the control API gets pods' output from: a protocol that a pod driver fulfils."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from model.pod import LogLine

DEFAULT_TAIL = 100


class LogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines are wanted; an empty name stands for all.

    Attributes:
        component: Name of the component.
        pod: Id of the pod.
        tail: How many of the latest lines of each pod come first.
        follow: Whether new lines follow until the reader leaves.
    """

    component: str = ""
    pod: str = ""
    tail: int = DEFAULT_TAIL
    follow: bool = False


class PodLogs(Protocol):
    """Reads the output of the pods of one driver."""

    def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """Yield the lines of ``query``: no line twice and none left out between tail and follow.

        Closing the iterator ends the following and frees what it held.
        """
        ...
