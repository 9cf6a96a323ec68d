"""The addresses that the control API may listen on: beyond loopback only with TLS.

Its callers send tokens and secrets, and it takes code to run.
"""

from __future__ import annotations

import ipaddress

from kubefox.errors import InvalidRequest


def check_exposure(host: str, *, has_tls: bool) -> None:
    """Refuse an address that other machines reach in plain text.

    Args:
        host: Address to listen on.
        has_tls: Whether the API has a certificate.

    Raises:
        InvalidRequest: The address is beyond loopback, and there is no TLS.
    """
    if not has_tls and not is_loopback(host):
        raise InvalidRequest(
            f"the control API may not listen on {host} (FOX_CONTROL_HOST) without TLS, because "
            "tokens and secrets would cross the network in plain text: set FOX_CONTROL_TLS_CERT "
            "and FOX_CONTROL_TLS_KEY, or leave FOX_CONTROL_HOST at 127.0.0.1"
        )


def is_loopback(name: str) -> bool:
    """Return whether a host name or address means this machine alone."""
    address = address_of(name)
    return name.lower() == "localhost" if address is None else address.is_loopback


def address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address with this text, or None for a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
