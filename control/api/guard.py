"""The guard of the control API: refuses requests of foreign web pages.

The API has no passwords. Every client that reaches its loopback address may use it, and every web
page in a browser of that machine can send requests there. Browsers send the origin of the page, so
other origins are refused. A page may resolve its own host name to an address of the API (DNS
rebinding); then the Host header contains that name, and the request is refused too. A page cannot
choose what an IP address means, so a listener beyond loopback accepts every address.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from control.api.exposure import address_of, is_loopback
from kubefox.errors import NotAuthorized

_SAME_SITE = {"same-origin", "none"}


class Guard:
    """Refuses requests that only a foreign web page would send.

    Args:
        host: Address that the API listens on.
        allowed_hosts: Additional host names that the Host header may contain.
    """

    def __init__(self, host: str, allowed_hosts: Collection[str] = ()) -> None:
        self._is_local = is_loopback(host)
        self._names = {name.lower() for name in (host, *allowed_hosts)}

    def check(self, request: web.BaseRequest) -> None:
        """Check that the request does not come from a foreign web page.

        Raises:
            NotAuthorized: Its origin or host name is not that of the API.
        """
        host = request.headers.get(hdrs.HOST, "")
        if not self._is_own(_name(host)):
            raise NotAuthorized(
                f"host {host!r} is not a name of the control API: use its "
                f"{'loopback ' if self._is_local else ''}address, or add the name to "
                "FOX_CONTROL_ALLOWED_HOSTS"
            )
        origin = request.headers.get(hdrs.ORIGIN)
        # A proxy may have received the request by TLS.
        own = {f"{scheme}://{host}".lower() for scheme in (request.scheme, "https")}
        if origin is not None and origin.lower() not in own:
            raise NotAuthorized(f"web pages of origin {origin} may not use the control API")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in _SAME_SITE:
            raise NotAuthorized("web pages of other sites may not use the control API")

    def _is_own(self, name: str) -> bool:
        return (
            is_loopback(name)
            or name in self._names
            or (not self._is_local and address_of(name) is not None)
        )


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or "" if "@" not in host else ""
    except ValueError:
        return ""
