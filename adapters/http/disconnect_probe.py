"""Find out whether a client still exists, and whether one that has closed its side still reads.

A client that disconnects sends the same as one that has nothing more to send. The difference shows
only when something is written: the system of a client that has disconnected answers with a reset.
So an interim response is written, which a client of HTTP/1.1 must accept at any time (RFC 9110,
15.2), and the connection is aborted when the reset comes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PROBE_AFTER_S = 0.05
"""How long an answer may take before the client is probed."""
_MOST_S = 1.0
# Seconds of silence before the first probe, seconds between probes, and probes without an answer.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def notice_lost_clients(listening: socket.socket) -> None:
    """Have the kernel end connections whose clients have vanished, within about two minutes.

    The client's system answers for a client that waits; so this ends no quiet stream.

    Args:
        listening: The kernel copies its options to each connection that it accepts. Setting them
            for each connection would cost 20 µs.
    """
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            listening.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def probe_later(transport: asyncio.Transport, may_probe: Callable[[], bool]) -> None:
    """Abort a connection soon if its client reads no more.

    Args:
        transport: Of a client that has closed its side.
        may_probe: Whether an interim response may be written now.
    """
    asyncio.get_running_loop().call_later(PROBE_AFTER_S, _probe, transport, may_probe)


def _probe(transport: asyncio.Transport, may_probe: Callable[[], bool]) -> None:
    if not transport.is_closing() and may_probe():
        transport.write(CONTINUE)
        _check_later(transport, PROBE_AFTER_S)


def _check_later(transport: asyncio.Transport, pause_s: float) -> None:
    asyncio.get_running_loop().call_later(pause_s, _check, transport, pause_s)


def _check(transport: asyncio.Transport, pause_s: float) -> None:
    if transport.is_closing():
        return
    # uvloop waits for nothing on a socket that has ended and has nothing to write, so it does not
    # notice a reset.
    if transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        transport.abort()
    else:
        _check_later(transport, min(2 * pause_s, _MOST_S))
