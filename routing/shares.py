"""Shares as requests carry them: verified tokens, and what a request with one selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from kubefox import share
from kubefox.errors import FoxError, NotFound
from kubefox.share import Claims
from routing.bounded_cache import BoundedCache
from routing.selectors import Selectors, Source
from routing.snapshot.records import Records

END = "end"
"""Value of ``kf-share`` in a URL that ends the preview."""

_MAX_CACHED = 1_024
_READS = {"GET", "HEAD"}
_OF_REQUEST = {Source.QUERY, Source.HEADER}


class OpenedShare(msgspec.Struct, frozen=True):
    """A share whose token is verified.

    Attributes:
        claims: Rights that it gives.
        selectors: Those of its requests; one object, so that the resolver's memo is found again.
    """

    claims: Claims
    selectors: Selectors

    def covers(self, selectors: Selectors) -> bool:
        """Return whether a request selects what it allows."""
        wanted = selectors.deployment, selectors.virtual_environment
        return wanted == (self.claims.deployment, self.claims.virtual_environment)


class Shares:
    """Verifies the tokens of requests; each once.

    Args:
        keys: Returns the keys for ``kubefox.share.PURPOSE``.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]]) -> None:
        self._keys = keys
        self._opened: BoundedCache[str, OpenedShare] = BoundedCache(_MAX_CACHED)

    def find(self, token: str, host: str, records: Records, now_s: float) -> OpenedShare | None:
        """Return the share of a token; None if it is not valid, has ended or was revoked.

        The cost does not depend on the number of shares.

        Args:
            token: From the client.
            host: Host of the request, perhaps with a port.
            records: The platform's records.
            now_s: Unix time.
        """
        opened = self.open(token)
        if opened is None or fault_of(opened.claims, host, records, now_s):
            return None
        return opened

    def open(self, token: str) -> OpenedShare | None:
        """Return the share of a token, which may have ended; None if the token is not valid."""
        opened = self._opened.get(token)
        if opened is None:
            try:
                claims = share.verified(token, self._keys())
            except FoxError:
                return None
            selectors = Selectors(
                deployment=claims.deployment,
                virtual_environment=claims.virtual_environment,
                deployment_source=Source.SHARE,
                virtual_environment_source=Source.SHARE,
            )
            opened = OpenedShare(claims, selectors)
            self._opened.put(token, opened)
        return opened

    def forget(self) -> None:
        """Verify all tokens again: the keys have changed, and one may have been removed."""
        self._opened = BoundedCache(_MAX_CACHED)


def fault_of(claims: Claims, host: str, records: Records, now_s: float) -> str:
    """Return why a request may not use a share; empty if it may.

    Args:
        claims: Of its token.
        host: Host of the request, perhaps with a port.
        records: The platform's records.
        now_s: Unix time.
    """
    if now_s >= claims.expires_at_s:
        return "it has ended"
    entry = records.shares.get(claims.name)
    if entry is None or not claims.matches(entry.record):
        return "it was revoked"
    if claims.host and claims.host != host_name(host):
        return f"it is for the host {claims.host} only"
    return ""


def choose(selectors: Selectors, found: OpenedShare | None) -> tuple[Selectors, OpenedShare | None]:
    """Return what a request with the token of a share selects, and the share if it allows that.

    Names in the query or the headers win over those of the share.

    Args:
        selectors: Of the request.
        found: Its share; None if it is not valid here.

    Raises:
        NotFound: The share alone selects, and it is not valid.
    """
    if _OF_REQUEST & {selectors.deployment_source, selectors.virtual_environment_source}:
        return selectors, found if found is not None and found.covers(selectors) else None
    if found is None:
        raise NotFound(
            "the share of this request is not valid here: it was altered, has ended, was revoked, "
            "or this listener or host accepts none"
        )
    return found.selectors, found


def is_opening(selectors: Selectors, method: str) -> bool:
    """Return whether the URL itself has the token, so that a cookie must replace it."""
    return selectors.share_source is Source.QUERY and method in _READS


def host_name(host: str) -> str:
    """Return the name in a Host header, in lower case and without the port."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.lower()).rstrip(".")
