"""Ports for servers that cannot choose one themselves, as others have to know it before."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

HOST = "127.0.0.1"
_FIRST = 10_000
_MOST_TRIED = 500
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return different ports of loopback that nothing listens on.

    The kernel gives none of them to a connection or to a server on any port, so that they are still
    free when a server starts that takes a while.
    """
    end = int(_OUTGOING.read_text().split()[0])
    ports = range(_FIRST, end)
    # In random order: two runs on one machine seldom choose the same. Without such ports, the
    # kernel chooses.
    tried = random.sample(ports, min(_MOST_TRIED, len(ports))) or [0] * count
    found: list[int] = []
    with ExitStack() as stack:
        for port in tried:
            with suppress(OSError):
                bound = stack.enter_context(socket.socket())
                bound.bind((HOST, port))
                found.append(bound.getsockname()[1])
            if len(found) == count:
                return found
    raise OSError(f"{count} ports between {_FIRST} and {end} are not free")
