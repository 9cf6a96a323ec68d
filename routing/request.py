"""The part of a genesis event that routing reads."""

from __future__ import annotations

import msgspec

from kubefox.event import EventType, Headers


class GenesisRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A genesis event before it has a context. Matching never changes it.

    Attributes:
        type: One of ``EventType``.
        host: As the client sent it; matching ignores case and port.
        method: HTTP method.
        path: Raw, percent-encoded.
        query: Raw, without ``?``, selectors already removed.
        headers: In order, with duplicates; names in lower case.
    """

    type: str = EventType.HTTP
    host: str = ""
    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Headers = ()
