"""The lines that a client has got from a pod runner, to go on with another process of it."""

from __future__ import annotations

import time

from msgspec.structs import replace

from broker.storage.pod_logs import MAX_TAIL, LogQuery
from kubefox.pod import LogLine

OVERLAP_S = 60.0
"""How much earlier than the latest line of all pods that of one pod may be."""


class SeenLines:
    """The time of the latest line of each pod."""

    def __init__(self) -> None:
        self._latest_s: dict[str, float] = {}
        self._before_s: dict[str, float] = {}

    def take(self, line: LogLine) -> bool:
        """Note a line; return False if the client has got it before ``rest`` was asked for."""
        if line.is_notice:
            return True
        if line.at_s <= self._before_s.get(line.pod, -1):
            return False
        self._latest_s[line.pod] = line.at_s
        return True

    def rest(self, query: LogQuery) -> LogQuery:
        """Return the query for the lines that the client has not got yet, and some that it has."""
        if not self._latest_s:
            return query
        self._before_s = dict(self._latest_s)
        # The clock of one node may be ahead of those of the others.
        latest_s = min(max(self._before_s.values()), time.time())
        since_s = max(query.since_s, latest_s - OVERLAP_S)
        return replace(query, since_s=since_s, tail=MAX_TAIL)
