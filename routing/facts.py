"""The facts of a request that rules look at, each decoded once.

Segments and method are needed by nearly every rule; host, query and headers are read only by few,
so they are decoded when the first rule asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

from routing.request import GenesisRequest

Values = dict[str, list[str]]
MAX_KNOWN_HOST = 260


class Facts:
    """A request as rules see it. Lives as long as one decision.

    Attributes:
        request: The request.
        method: Its method.
        segments: Of its path, decoded.
        words: Of the environment whose routes are being asked, where these are shared by several.
    """

    __slots__ = ("_headers", "_host", "_query", "method", "request", "segments", "words")

    def __init__(self, request: GenesisRequest) -> None:
        """Decode what nearly every rule reads."""
        self.request = request
        self.method = request.method
        self.segments = path_segments(request.path)
        self.words: tuple[str, ...] = ()
        self._host: str | None = None
        self._query: Values | None = None
        self._headers: Values | None = None

    @property
    def type(self) -> str:
        """Type of the event."""
        return self.request.type

    @property
    def host(self) -> str:
        """The host in lower case, without its port and root dot."""
        if self._host is None:
            host = self.request.host
            self._host = _known_host(host) if len(host) <= MAX_KNOWN_HOST else normal_host(host)
        return self._host

    @property
    def query(self) -> Values:
        """Decoded query parameters, each with all its values in order."""
        if self._query is None:
            self._query = _query_values(self.request.query)
        return self._query

    @property
    def headers(self) -> Values:
        """Header values by lower-case name, in order."""
        if self._headers is None:
            self._headers = _grouped(self.request.headers)
        return self._headers


def path_segments(path: str) -> list[str]:
    """Return the decoded segments of a path.

    Splitting comes first, so ``%2F`` stays inside its segment; empty segments, from doubled and
    trailing slashes, are left out.
    """
    segments = path.strip("/").split("/")
    if "" in segments:
        segments = [segment for segment in segments if segment]
    return [unquote(each) for each in segments] if "%" in path else segments


def normal_host(host: str) -> str:
    """Return a host in lower case without its port and root dot."""
    if ":" in host:
        name, _, port = host.rpartition(":")
        if not port.endswith("]"):
            host = name
    return host.lower().rstrip(".")


# The same few hosts come with every request; remembering them takes a quarter of the time. Longer
# ones than DNS has are not remembered: whoever sends many of them would fill the memory.
_known_host = lru_cache(maxsize=4_096)(normal_host)


def _query_values(query: str) -> Values:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return _grouped((unquote_plus(name), unquote_plus(value)) for name, _, value in pairs)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Values:
    values: Values = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values
