"""The listening sockets of a port that several processes share.

Each worker has a socket of its own, and the kernel spreads new connections over the sockets
(SO_REUSEPORT). A connection waits in the queue of its socket until a process accepts it. It is lost
only if the last process that has the socket closes it. Therefore a socket outlives the worker that
accepts from it: the next worker, or the next ``fox serve http`` (``port_handover``), gets the same
socket, and finds in it what the last one has not accepted.

All processes that have a socket share its state, also whether it blocks. A blocking one would stop
the event loop of a process when another one accepts the connection that it was woken for. So no
process ever makes a socket blocking, and ``socket.dup`` does, unless the object says otherwise.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class SharedSockets(NamedTuple):
    """The sockets of a port, as one of the processes that share it uses them.

    Attributes:
        own: At least one; its connections are accepted at once.
        others: Its connections are accepted if no other process does so for a while.
    """

    own: tuple[socket.socket, ...]
    others: tuple[socket.socket, ...] = ()


def share(sockets: Sequence[socket.socket], worker: int, workers: int) -> SharedSockets:
    """Return the share of one worker: each socket is the own one of exactly one worker.

    Args:
        sockets: At least as many as workers.
        worker: From 0 to ``workers - 1``.
        workers: Number of workers.
    """
    own = tuple(sockets[worker::workers])
    return SharedSockets(own, tuple(other for other in sockets if other not in own))


def resolve(host: str, port: int) -> tuple[str, int]:
    """Return the first address that a host name stands for, and the port; 0 becomes a free port.

    Raises:
        OSError: The name has no address, or this user may not bind it.
    """
    if port:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
        return str(address[0]), port
    with _bind(host, port) as free:
        address, found, *_ = free.getsockname()
    return address, found


def check_free(host: str, port: int) -> None:
    """Check that no process listens on a port.

    With SO_REUSEPORT alone, the port could be shared with another platform, and half of the
    requests would go there.

    Raises:
        OSError: The port is in use, or this user may not bind it.
    """
    _bind(host, port, socket.SO_REUSEADDR).close()


def add_sockets(sockets: list[socket.socket], count: int, host: str, port: int) -> None:
    """Bind more sockets to the port until there are ``count``; none of the new ones listens.

    Raises:
        OSError: The port is in use, or this user may not bind it.
    """
    while len(sockets) < count:
        sockets.append(_bind(host, port, socket.SO_REUSEADDR, socket.SO_REUSEPORT))


def adopt(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor that another process has sent or left to this one."""
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return adopted


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """Close all sockets of a list at the end."""
    try:
        yield sockets
    finally:
        for listening in sockets:
            listening.close()


def _bind(host: str, port: int, *options: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    bound.setblocking(False)
    try:
        for option in options:
            bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
