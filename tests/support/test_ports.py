"""Free ports stay free until a server takes them."""

from __future__ import annotations

import random
import socket

import pytest

from tests.support import ports
from tests.support.ports import HOST, free_ports


def test_a_free_port_is_given_to_no_server_on_any_port() -> None:
    found = free_ports(3)

    with socket.create_server((HOST, 0)) as server:
        given = server.getsockname()[1]

    assert len(set(found)) == 3
    assert max(found) < given


def test_a_port_in_use_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    # It and the next ones alone are looked at.
    monkeypatch.setattr(ports, "_FIRST", port)
    monkeypatch.setattr(random, "sample", lambda values, _count: list(values))

    with socket.create_server((HOST, port)):
        (found,) = free_ports(1)

    assert found > port
