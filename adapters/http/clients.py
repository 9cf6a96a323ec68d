"""Which clients are trusted, and which requests come directly from their client.

An address proves little by itself. Behind a proxy every request has the proxy's address; a web page
in a browser of a trusted machine can send requests from there, and by DNS rebinding it can read the
answers. Therefore a request counts as direct only if

- it has none of the headers that proxies add, and is not HTTP/1.0, which nginx speaks by default,
- its Host is an IP address, a name without a dot, a name of a reserved domain, which cannot be
  registered (RFC 2606, RFC 6761), or one that the settings name: a web page cannot rebind these,
- its Origin, if it has one, is the same server or has such a name.

A proxy that adds no header and speaks HTTP/1.1 cannot be seen: ``FOX_HTTP_TRUSTED_PROXIES`` tells.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from adapters.http.aiohttp_internals import HttpVersion10
from adapters.http.codec import PROXY_HEADERS, ParsedRequest
from adapters.http.request import Request
from broker.runtime.settings import Network, Settings

_RESERVED = (".localhost", ".test", ".example", ".invalid", ".internal")
_MAX_NAME = 256
_CACHED_HOSTS = 256


class Clients:
    """Tells trusted clients and direct requests from others.

    Args:
        settings: Name the trusted networks, proxies and host names.

    Attributes:
        has_proxies: Whether proxies in front of the listener are known.
    """

    def __init__(self, settings: Settings) -> None:
        self._networks = settings.trusted_networks
        self._proxies = settings.trusted_proxies
        self.has_proxies = bool(self._proxies)
        self._hosts = {host.lower() for host in settings.trusted_hosts}
        self._is_safe_host = lru_cache(maxsize=_CACHED_HOSTS)(self._check_host)

    def is_direct(self, request: Request, parsed: ParsedRequest) -> bool:
        """Return whether no proxy and no foreign web page has sent a request."""
        return (
            parsed.adapter_headers.keys().isdisjoint(PROXY_HEADERS)
            and request.message.version > HttpVersion10
            and self._has_own_names(parsed)
        )

    def trusted_address(self, request: Request, parsed: ParsedRequest) -> str:
        """Return the address of a trusted client; empty if the client is not trusted."""
        address = _address(request.remote)
        if address is None:
            return ""
        if _contains(self._proxies, address):
            address = self._forwarded(parsed.adapter_headers.get("x-forwarded-for", ""))
            is_seen = self._has_own_names(parsed)
        else:
            is_seen = self.is_direct(request, parsed)
        is_trusted = is_seen and address is not None and _contains(self._networks, address)
        return str(address) if is_trusted else ""

    def _forwarded(self, addresses: str) -> IPv4Address | IPv6Address | None:
        """Return the last address that is not one of a proxy: the client, as the proxies saw it."""
        for text in reversed(addresses.split(",")):
            address = _address(text.strip())
            if address is None or not _contains(self._proxies, address):
                return address
        return None

    def _has_own_names(self, parsed: ParsedRequest) -> bool:
        host, origin = parsed.genesis.host, parsed.adapter_headers.get("origin")
        if len(host) > _MAX_NAME or not self._is_safe_host(host):
            return False
        if origin is None:
            return True
        scheme, separator, authority = origin.partition("://")
        if scheme not in {"http", "https"} or not separator or len(authority) > _MAX_NAME:
            return False
        return authority.lower() == host.lower() or self._is_safe_host(authority)

    def _check_host(self, host: str) -> bool:
        name = _name(host)
        if not name:
            return False
        is_address = _address(name) is not None
        return is_address or "." not in name or name.endswith(_RESERVED) or name in self._hosts


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") if "@" not in host else ""
    except ValueError:
        return ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for IPv4 and IPv6 shows the IPv4 clients in this form.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _contains(networks: Collection[Network], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)
