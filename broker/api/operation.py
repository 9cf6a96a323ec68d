"""An operation of the control API: one row of the table that routes and describes it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from broker.api.messages import NoQuery
from broker.control.control import Control
from broker.dead_letters import DeadLetters
from broker.pod_logs import PodLogs
from broker.telemetry.collector import Collector
from model.errors import InvalidRequest


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What the operations work with.

    Attributes:
        control: The rules.
        logs: Pods' output.
        collector: Figures and traces.
        dead_letters: Events that were given up.
        version: Of the platform.
        readiness: Whether each part of the process is ready, by its name.
    """

    control: Control
    logs: PodLogs
    collector: Collector
    dead_letters: DeadLetters
    version: str
    readiness: Mapping[str, Callable[[], bool]]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request, read and checked.

    Attributes:
        path: Values of the path's ``{…}``.
        query: Of the operation's query type.
        body: Of the operation's body type; bytes for a raw body, None without one.
        if_match: Revision of the If-Match header, ``ANY_REVISION`` for ``*``, or None.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    if_match: int | None

    @property
    def name(self) -> str:
        """The object that the path names."""
        return self.path["name"]

    def check_name(self, name: str) -> None:
        """Refuse a body that names another object than the path.

        Raises:
            InvalidRequest: It does.
        """
        if name != self.name:
            raise InvalidRequest(f"the path names {self.name!r}, the body {name!r}")


Answer = Callable[[Parts, Call], Awaitable[object]]
Lines = Callable[[Parts, Call], AsyncGenerator[object, None]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    Attributes:
        method: HTTP method.
        path: With ``{…}`` for its parameters.
        summary: One line for people.
        answer: Does it; its result is the response's JSON, None a response without body.
        lines: In place of ``answer``: yields the lines of an NDJSON response.
        body: JSON is decoded to this type; ``bytes`` takes the body raw; None takes none.
        query: Type of the query parameters.
        result: Type of the response's JSON, for the description.
        has_if_match: Whether the If-Match header counts.
        text: Media type of an answer that is text instead of JSON.
    """

    method: str
    path: str
    summary: str
    answer: Answer | None = None
    lines: Lines | None = None
    body: Any = None
    query: type[msgspec.Struct] = NoQuery
    result: Any = None
    has_if_match: bool = False
    text: str = ""
