"""The facts of a request that predicates read, each decoded once.

Nearly every rule needs segments and method. Few rules read host, query and headers, so these are
decoded on first use.

Clients choose the length of all of these. The limits below keep the decision of one request under 5
ms: a request over them is refused, because a rule that does not see the whole request might accept
what it has to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from kubefox.errors import HeadersTooLarge
from kubefox.refusal import Refusal
from routing.request import GenesisRequest
from routing.request_text import MAX_PAIRS, MAX_SEGMENTS, check_count, decoded, decoded_plus

Values = dict[str, list[str]]
MAX_CACHED_HOST = 260
MAX_MATCH_WORK = 300_000
"""Work of all regular expressions of one decision (``routing.language.regex``); 13 ns each."""

# A path of fewer characters cannot have too many segments.
_SHORT_PATH = 2 * MAX_SEGMENTS


class Facts:
    """A request in the form that predicates read. Lives as long as one decision.

    Attributes:
        request: The request.
        method: HTTP method.
        segments: Decoded segments of the path.
        match_work_left: Work that regular expressions may still do.
        segment_values: Variable values of the environment whose routes are being matched, where
            several environments share routes; see ``routing.table.parameterized_table``.

    Raises:
        HeadersTooLarge: The path has more than MAX_SEGMENTS.
    """

    __slots__ = (
        "_headers",
        "_host",
        "_query",
        "match_work_left",
        "method",
        "request",
        "segment_values",
        "segments",
    )

    def __init__(self, request: GenesisRequest) -> None:
        if len(request.path) > _SHORT_PATH:
            check_count(request.path, "/", MAX_SEGMENTS, "segments in its path")
        self.request = request
        self.method = request.method
        self.match_work_left = MAX_MATCH_WORK
        self.segments = path_segments(request.path)
        self.segment_values: tuple[str | frozenset[str], ...] = ()
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
            self._host = _cached_host(host) if len(host) <= MAX_CACHED_HOST else normal_host(host)
        return self._host

    @property
    def query(self) -> Values:
        """Decoded query parameters, each with all its values in order.

        Raises:
            HeadersTooLarge: There are more than MAX_PAIRS.
        """
        if self._query is None:
            self._query = _query_values(self.request.query)
        return self._query

    @property
    def headers(self) -> Values:
        """Header values by lower-case name, in order."""
        if self._headers is None:
            self._headers = _grouped(self.request.headers)
        return self._headers

    def spend(self, work: int) -> None:
        """Take the work of a regular expression from the limit of this request.

        Raises:
            HeadersTooLarge: Too little is left.
        """
        self.match_work_left -= work
        if self.match_work_left < 0:
            raise HeadersTooLarge(
                "the request has more text for the regular expressions of the rules than may be "
                f"matched (limit: {MAX_MATCH_WORK:,} bytes × instructions): send shorter headers, "
                "query and path, or simplify the regular expressions",
                refusal=Refusal.MATCH_WORK,
            )


def path_segments(path: str) -> list[str]:
    """Return the decoded segments of a path.

    The path is split before it is decoded, so ``%2F`` does not split a segment. Doubled and
    trailing slashes make no empty segments.
    """
    segments = path.strip("/").split("/")
    if "" in segments:
        segments = [segment for segment in segments if segment]
    if "%" in path:
        return [decoded(segment) if "%" in segment else segment for segment in segments]
    return segments


def normal_host(host: str) -> str:
    """Return a host in lower case without its port and root dot."""
    if ":" in host:
        name, _, port = host.rpartition(":")
        if not port.endswith("]"):
            host = name
    return host.lower().rstrip(".")


# Requests repeat the same few hosts: the cache takes a quarter of the time. Hosts longer than DNS
# allows are not cached, because a client that sends many of them would fill the memory.
_cached_host = lru_cache(maxsize=4_096)(normal_host)


def _query_values(query: str) -> Values:
    check_count(query, "&", MAX_PAIRS, "query parameters")
    pairs = (part.partition("=") for part in query.split("&") if part)
    return _grouped((decoded_plus(name), decoded_plus(value)) for name, _, value in pairs)


def _grouped(pairs: Iterable[tuple[str, str]]) -> Values:
    values: Values = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values
