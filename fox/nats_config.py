"""The configuration of NATS servers that serve a platform: one server, or those of a cluster.

The embedded server has a configuration of its own, see ``fox.nats_server``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kubefox.errors import InvalidRequest

ROUTE_PORT_OFFSET = 2_000
"""From the port for clients to that for the other servers: NATS's usual ports are 4222 and 6222."""
LEAST_SERVERS = 3
"""Servers of a cluster: two stand still when one of them is lost."""
_LARGEST_PORT = 65_535
_EVERY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 - refused

_SERVER = """\
listen: "{listen}"
# A whole body of 5 MiB and its head fit into one message.
max_payload: 8388608
# Credentials list all that a process may do: a pod with 100 dependencies needs 32 KiB.
max_control_line: 131072
# At the default of 64 MiB, 20 answers of 5 MiB at once cut an HTTP adapter off.
max_pending: 536870912
# An acknowledged write is on the disk.
jetstream {{ store_dir: "{store}", sync_interval: always }}
# The operator and the account of the platform; every client needs credentials of the account.
{keys}"""

_PINGS = """\
# A client that hangs, or whose host is gone, is noticed after 15 s. Each ping wakes a pod: with
# hundreds of pods, "30s" halves the work of an idle platform, and 90 s are needed to notice it.
ping_interval: "5s"
ping_max: 2
"""

_CLUSTER = """\
# A client that the network does not reach any more is left within 6 s: until then, the server takes
# requests for it. The platform's processes send a ping every 1.9 s, and get none from the server.
ping_interval: "2s"
ping_max: 2
server_name: "{name}"
cluster {{
  name: "kubefox"
  listen: "{listen}"
  # A server that hangs, or that the network does not reach, is left by the others within 4 s.
  ping_interval: "1s"
  ping_max: 2
  # A server that joins can do everything: keep the password, and this file, to the servers.
  authorization {{ user: "{user}", password: "{password}" }}
  routes: [{routes}]
}}
"""
_ROUTE_USER = "kubefox-route"


class Address(NamedTuple):
    """Where a server listens.

    Attributes:
        host: Name or IP address; an IPv6 address in brackets.
        port: Port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def route(self) -> Address:
        """Where the server listens for the other servers of its cluster."""
        return Address(self.host, self.port + ROUTE_PORT_OFFSET)


class Member(NamedTuple):
    """One server of a cluster.

    Attributes:
        name: Unique in the cluster.
        route: Where it listens for the other servers.
    """

    name: str
    route: Address


def parse_address(text: str) -> Address:
    """Return the address of ``HOST:PORT``.

    Raises:
        InvalidRequest: It is no address.
    """
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= _LARGEST_PORT):
        raise InvalidRequest(f"address {text!r} of a NATS server is not valid: expected HOST:PORT")
    return Address(host, int(port))


def cluster_of(addresses: Sequence[Address]) -> list[Member]:
    """Return the servers of a cluster, each with a name.

    Args:
        addresses: Where each listens for clients.

    Raises:
        InvalidRequest: They cannot be a cluster.
    """
    if len(addresses) < LEAST_SERVERS:
        raise InvalidRequest(
            f"{len(addresses)} NATS servers are no cluster that goes on when one is lost: name "
            f"one server, or {LEAST_SERVERS} or more"
        )
    for address in addresses:
        _check_member(address)
    if len(set(addresses)) < len(addresses):
        raise InvalidRequest("an address is named twice: each NATS server needs one of its own")
    return [Member(f"nats-{number}", one.route) for number, one in enumerate(addresses, 1)]


def _check_member(address: Address) -> None:
    if address.host in _EVERY_ADDRESS:
        raise InvalidRequest(
            f"{address} does not say where the other servers of the cluster reach this one: name "
            "its host or its IP address"
        )
    if not 0 < address.port <= _LARGEST_PORT - ROUTE_PORT_OFFSET:
        raise InvalidRequest(
            f"port {address.port} of {address} is not valid for a cluster: the servers listen for "
            f"each other at a port that is {ROUTE_PORT_OFFSET} higher; expected 1 to "
            f"{_LARGEST_PORT - ROUTE_PORT_OFFSET}"
        )


def server_config(listen: Address, store: Path, keys: str) -> str:
    """Return the configuration of a server, without pings.

    Args:
        listen: Where it listens for clients.
        store: Folder for its data.
        keys: Lines with the operator and the account, see ``NatsKeys.config``.
    """
    return _SERVER.format(listen=listen, store=store, keys=keys)


def single_config() -> str:
    """Return the further lines of a server that is alone."""
    return _PINGS


def cluster_config(member: Member, members: Sequence[Member], password: str) -> str:
    """Return the further lines of a server that is in a cluster.

    Args:
        member: The server.
        members: All servers of the cluster.
        password: By which the servers know each other.
    """
    # A first start waits for a majority of all routes: a server that is its own would count twice.
    routes = (
        f'"nats://{_ROUTE_USER}:{password}@{other.route}"' for other in members if other != member
    )
    return _CLUSTER.format(
        name=member.name,
        listen=member.route,
        user=_ROUTE_USER,
        password=password,
        routes=", ".join(routes),
    )
