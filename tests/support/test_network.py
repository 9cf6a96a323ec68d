"""The network of namespaces: what is sent to a host that is cut off is dropped, not refused."""

from __future__ import annotations

import socket

import pytest

from tests.support.network import Host, Network

CLOSED_PORT = 9
# The kernel sends again what the network of a loaded machine has lost.
SOON_S = 60.0
LONG_ENOUGH_S = 1.0


def connect(host: Host, timeout_s: float = SOON_S) -> None:
    with socket.create_connection((host.address, CLOSED_PORT), timeout_s):
        pass


def test_a_host_is_reached_until_it_is_cut_off_and_after_it_is_healed(network: Network) -> None:
    first, second, _ = network.hosts

    with pytest.raises(ConnectionRefusedError):
        connect(first)
    network.cut(first)
    with pytest.raises(TimeoutError):
        connect(first, LONG_ENOUGH_S)
    with pytest.raises(ConnectionRefusedError):
        connect(second)
    network.heal(first)

    with pytest.raises(ConnectionRefusedError):
        connect(first)
