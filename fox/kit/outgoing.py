"""The requests and events that a component sends to others."""

from __future__ import annotations

import msgspec

from kubefox.event import Headers


class OutgoingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request to another component.

    Attributes:
        method: HTTP method, or the operation of an adapter.
        path: Percent-encoded path.
        query: Raw query string.
        headers: Headers; their names are in lower case.
        body: The body, of any length.
        idempotent: Whether it may be handled twice; None decides by the method.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    idempotent: bool | None = None


class EmitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an emitted event is stored and delivered; see ``ComponentClient.emit``.

    Attributes:
        key: Deduplication key, or empty.
        timeout_s: Time limit of one attempt; None leaves that of the handler.
        delay_s: Time until the first attempt.
    """

    key: str = ""
    timeout_s: float | None = None
    delay_s: float = 0
