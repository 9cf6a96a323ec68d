"""Who may call the control API: no page that a browser loaded from elsewhere.

The API has no passwords: whoever reaches its loopback address may use it, and every page in that
machine's browsers can send requests there. Browsers name the page's origin, so other origins are
refused; a page that had its own name resolved to loopback (DNS rebinding) is known by the Host
header, in which that name stands.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from model.errors import NotAuthorized

_SAME_SITE = {"same-origin", "none"}


class Guard:
    """Refuses requests that only a foreign page would make.

    Args:
        host: Address that the API listens on.
        allowed_hosts: Further names that may stand in the Host header.
    """

    def __init__(self, host: str, allowed_hosts: Collection[str] = ()) -> None:
        """Decide whether Host headers count: only on loopback is every other name a lie."""
        self._checks_host = _is_loopback(host)
        self._allowed = {name.lower() for name in allowed_hosts}

    def check(self, request: web.BaseRequest) -> None:
        """Return if the request may go on.

        Raises:
            NotAuthorized: It comes from a page of another origin, or under a foreign name.
        """
        host = request.headers.get(hdrs.HOST, "")
        if self._checks_host and not self._is_own(_name(host)):
            raise NotAuthorized(f"the control API does not answer to the name {host!r}")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin.lower() != f"{request.scheme}://{host}".lower():
            raise NotAuthorized(f"pages of {origin} may not use the control API")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in _SAME_SITE:
            raise NotAuthorized("pages of other sites may not use the control API")

    def _is_own(self, name: str) -> bool:
        return _is_loopback(name) or name in self._allowed


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
