"""The header ``kubefox-explain: 1``: a request that asks why, instead of being served.

Only clients in the networks of ``FOX_EXPLAIN_FROM`` may ask; for all others the header means
nothing. Behind a proxy every client has the proxy's address: name no network there that holds it.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

import msgspec

from adapters.http.answer import Answer
from adapters.http.codec import Arrival
from model.errors import InvalidRequest
from routing.explain import explain
from routing.snapshot import Snapshot


class Explainer:
    """Answers who may ask.

    Args:
        networks: In CIDR form, separated by commas; empty allows nobody.

    Raises:
        InvalidRequest: One of them is not a network.
    """

    def __init__(self, networks: str) -> None:
        """Read the networks."""
        try:
            self._networks = [ip_network(each.strip()) for each in networks.split(",") if each]
        except ValueError as error:
            raise InvalidRequest(f"FOX_EXPLAIN_FROM={networks!r}: {error}") from error

    def allows(self, remote: str) -> bool:
        """Return whether a client of this address may ask."""
        if not remote:
            return False
        address = ip_address(remote.partition("%")[0])
        # So a client of IPv4 appears on a socket that listens to both.
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)

    def answer(self, arrival: Arrival, snapshot: Snapshot) -> Answer:
        """Return the explanation of a request as JSON."""
        explanation = explain(arrival.genesis, arrival.selectors, snapshot)
        return Answer(200, "content-type: application/json\r\n", msgspec.json.encode(explanation))
