"""The network of namespaces: what is sent to a host that is cut off is dropped, not refused."""

from __future__ import annotations

import socket

import pytest

from tests.support.network import Host, Network

CLOSED_PORT = 9
LONG_ENOUGH_S = 1.0


def connect(host: Host) -> None:
    with socket.create_connection((host.address, CLOSED_PORT), LONG_ENOUGH_S):
        pass


def test_a_host_is_reached_until_it_is_cut_off_and_after_it_is_healed(network: Network) -> None:
    first, second, _ = network.hosts

    with pytest.raises(ConnectionRefusedError):
        connect(first)
    network.cut(first)
    with pytest.raises(TimeoutError):
        connect(first)
    with pytest.raises(ConnectionRefusedError):
        connect(second)
    network.heal(first)

    with pytest.raises(ConnectionRefusedError):
        connect(first)
