"""Operations of the control API: the rows of the table from which it is routed and described."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from broker.events.dead_letters import DeadLetters
from broker.storage.pod_logs import PodLogReader
from broker.storage.token_store import TokenStore
from broker.telemetry.collector import Collector
from control.access.audit_log import AuditLog
from control.access.caller import Caller
from control.api.messages import NoQuery
from control.control_plane import ControlPlane
from control.status import RunCheck
from kubefox.errors import InvalidRequest


class ApiServices(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the platform that the operations use.

    Attributes:
        control: Validates and executes changes.
        logs: Reads the output of pods.
        collector: Collects statistics and traces.
        dead_letters: Emitted events that could not be delivered.
        tokens: Tokens of the control API.
        audit: The audit log.
        version: Version of the platform.
        readiness: Functions that return whether a part of the process is ready, by its name.
        checks: Of the status of the platform, by their names and in order.
    """

    control: ControlPlane
    logs: PodLogReader
    collector: Collector
    dead_letters: DeadLetters
    tokens: TokenStore
    audit: AuditLog
    version: str
    readiness: Mapping[str, Callable[[], bool]]
    checks: Mapping[str, RunCheck]


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request, decoded and validated.

    Attributes:
        path: Values of the path parameters.
        query: Instance of the operation's query type.
        body: Instance of the operation's body type; bytes for a raw body, None without a body.
        if_match: Revision of the If-Match header, ``ANY_REVISION`` for ``*``, or None.
        caller: Who sends it.
    """

    path: Mapping[str, str]
    query: Any
    body: Any
    if_match: int | None
    caller: Caller

    @property
    def name(self) -> str:
        """The path parameter ``name``."""
        return self.path["name"]

    def check_name(self, name: str) -> None:
        """Check that the body names the same object as the path.

        Raises:
            InvalidRequest: It names another object.
        """
        if name != self.name:
            raise InvalidRequest(f"the body names {name!r}, but the path names {self.name!r}")


Handler = Callable[[ApiServices, ApiRequest], Awaitable[object]]
Stream = Callable[[ApiServices, ApiRequest], AsyncGenerator[object, None]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method on one path.

    Attributes:
        method: HTTP method.
        path: Path with ``{…}`` for its parameters.
        summary: One line that describes the operation.
        handle: Executes the operation. Its result is the JSON of the response; None is a response
            without a body.
        stream: In place of ``handle``: yields the lines of an NDJSON response; with ``text`` the
            parts of the text, as bytes.
        body: Type of the JSON body; ``bytes`` reads the body raw, None reads no body.
        query: Type of the query parameters.
        result: Type of the response's JSON, for the description.
        may_be_empty: Whether a response may also be without a body.
        has_if_match: Whether the operation uses the If-Match header.
        text: Media type of a response that is text instead of JSON.
    """

    method: str
    path: str
    summary: str
    handle: Handler | None = None
    stream: Stream | None = None
    body: Any = None
    query: type[msgspec.Struct] = NoQuery
    result: Any = None
    may_be_empty: bool = False
    has_if_match: bool = False
    text: str = ""

    @property
    def key(self) -> str:
        """Method and path, which no other operation has."""
        return f"{self.method} {self.path}"
