"""The listening sockets and the connections that they have accepted.

libuv accepts one connection in each turn of the event loop. The listener accepts those behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any
from weakref import WeakSet

from adapters.http.connection import Connection, ParseFailureHandler, RequestHandler
from adapters.http.disconnect_probe import notice_lost_clients
from adapters.http.limits import HttpLimits
from adapters.http.shared_port import SharedSockets
from adapters.http.turns import Turns
from broker.runtime.tls import HANDSHAKE_TIMEOUT_S

HELP_INTERVAL_S = 0.05
"""How often the connections are accepted that wait for another process that shares the port."""
MOST_ACCEPTED = 64
"""Further connections that are accepted in one turn of the event loop, of each socket."""
_MOST_LOOKED_AT = 64
"""Connections that are looked at to find one without a request: a tenth of all has none."""
_ARRIVAL_S = 3.0
"""How long a closing listener waits for handshakes that are under way."""
_LOOK_AGAIN_S = 0.01
_MIN_GRACE_S = 0.1
"""Least grace time of a connection that is accepted while closing: its request is on the way."""


class Listener:
    """Accepts connections from ``open`` to ``close``.

    Args:
        handle: Answers a request.
        refuse: Answers bytes that are not a valid request.
        limits: Of the adapter.
        turns: Those of the adapter.
        tls: Context of a listener whose clients speak TLS.

    Attributes:
        connections: The open ones.
        evicted: Number of connections without a request that were closed to make room.
    """

    def __init__(
        self,
        handle: RequestHandler,
        refuse: ParseFailureHandler,
        limits: HttpLimits,
        turns: Turns,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._handle, self._refuse = handle, refuse
        self._limits, self._turns = limits, turns
        self._servers: list[asyncio.Server] = []
        # The same queues of connections as those of the servers, which close their sockets.
        self._queues: list[socket.socket] = []
        self._own_queues: Sequence[socket.socket] = ()
        self._looks_for_more = False
        self._accepting: set[asyncio.Task[None]] = set()
        self._helping: asyncio.Task[None] | None = None
        self._closing_grace_s: float | None = None
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S}
        # Those whose handshake is under way, or has failed just now.
        self._arriving: WeakSet[Connection] = WeakSet()
        # In the order in which they are looked at when there are too many.
        self.connections: OrderedDict[Connection, None] = OrderedDict()
        self.evicted = 0

    @property
    def is_open(self) -> bool:
        """Whether connections are accepted."""
        return bool(self._servers) and all(server.is_serving() for server in self._servers)

    @property
    def is_loopback(self) -> bool:
        """Whether it can be reached from this machine only."""
        addresses = [ip_address(queue.getsockname()[0]) for queue in self._queues]
        return bool(addresses) and all(address.is_loopback for address in addresses)

    async def open(self, host: str, port: int) -> int:
        """Start to listen on a port of this process alone, and return its number.

        Args:
            host: Address to listen on.
            port: 0 takes a free one.

        Raises:
            OSError: The port is in use, or the process may not use it.
        """
        loop, backlog = asyncio.get_running_loop(), self._limits.listen_backlog
        server = await loop.create_server(
            self._connect_first, host, port, backlog=backlog, start_serving=False, **self._tls
        )
        self._servers = [server]
        for bound in server.sockets:
            queue = socket.fromfd(bound.fileno(), bound.family, bound.type)
            queue.setblocking(False)
            notice_lost_clients(queue)
            self._queues.append(queue)
        self._own_queues = self._queues
        await server.start_serving()
        return int(self._queues[0].getsockname()[1])

    async def open_shared(self, sockets: SharedSockets) -> int:
        """Start to accept from sockets that other processes have too; return the port.

        The connections of the process's own sockets are accepted at once. Those of the others
        normally are by the other processes; the few that have waited for a while belong to a
        process that died or is blocked, and are accepted here.

        Args:
            sockets: ``close`` closes them; other processes have copies.
        """
        loop, backlog = asyncio.get_running_loop(), self._limits.listen_backlog
        self._own_queues = [own.dup() for own in sockets.own]
        self._queues = [*self._own_queues, *sockets.others]
        for queue in self._queues:
            notice_lost_clients(queue)
            queue.listen(backlog)
        self._servers = [
            await loop.create_server(self._connect_first, sock=own, backlog=backlog, **self._tls)
            for own in sockets.own
        ]
        if sockets.others:
            self._helping = asyncio.create_task(self._accept_for_others(sockets.others))
        return int(self._queues[0].getsockname()[1])

    async def close(self, *, idle_grace_s: float = 0) -> None:
        """Accept the connections that have arrived, then no more; wait until all are closed.

        A connection closes after the request that it answers. Connections on which that takes
        longer than ``drain_timeout_s`` are aborted.

        Args:
            idle_grace_s: How long idle connections stay open for one more request.
        """
        if not self._servers:
            return
        self._closing_grace_s = max(idle_grace_s, _MIN_GRACE_S)
        for server in self._servers:
            server.close()
        self._finish_all(idle_grace_s)
        await asyncio.sleep(0)
        # Also those that the event loop had just accepted.
        self._finish_all(idle_grace_s)
        if self._helping is not None:
            await self._helping
        for queue in self._queues:
            self._accept_waiting(queue, self._limits.listen_backlog)
            queue.close()
        await self._wait_arrived()
        await self._wait_closed(self._limits.drain_timeout_s)
        for connection in tuple(self.connections):
            connection.abort()
        for accepting in self._accepting:
            accepting.cancel()
        # A task that was writing a response ends now, since its client is disconnected.
        await self._wait_serving(self._limits.abort_timeout_s)

    def _finish_all(self, idle_grace_s: float) -> None:
        for connection in {*self.connections, *self._arriving}:
            connection.finish(idle_grace_s)

    async def _accept_for_others(self, queues: Sequence[socket.socket]) -> None:
        # Not cancelled: that would lose a connection that has just been accepted.
        while self._closing_grace_s is None:
            await asyncio.sleep(HELP_INTERVAL_S)
            for queue in queues:
                # In turns: a whole backlog may have waited for a process that died.
                for _ in range(0, self._limits.listen_backlog, MOST_ACCEPTED):
                    if self._accept_waiting(queue, MOST_ACCEPTED) < MOST_ACCEPTED:
                        break
                    await asyncio.sleep(0)

    def _accept_more(self) -> None:
        """Accept the connections that have arrived together with one that was just accepted.

        Beside a flood, a turn of the loop takes 10 ms and more: each of 50 new clients would wait
        for all those before it.
        """
        self._looks_for_more = False
        if self._closing_grace_s is not None:
            return
        for queue in self._own_queues:
            self._accept_waiting(queue, MOST_ACCEPTED)

    def _accept_waiting(self, queue: socket.socket, most: int) -> int:
        """Accept the connections that wait at this moment, but for those beyond ``most``.

        Returns:
            Their number.
        """
        count = 0
        for accepted in _waiting(queue, most):
            count += 1
            # The handshake of one must not keep the others waiting.
            task = asyncio.create_task(self._serve(accepted))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)
        return count

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the client has left
            await loop.connect_accepted_socket(self._connect, accepted, **self._tls)

    async def _wait_arrived(self) -> None:
        """Wait for the handshakes that are under way: their clients then send a request."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ARRIVAL_S):
                if self._accepting:
                    await asyncio.wait(self._accepting)
                # A failed handshake tells nothing, so it is waited for in vain.
                while any(not one.has_arrived for one in self._arriving):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN_S)

    async def _wait_closed(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.connections:
                    closing = [connection.wait_closed() for connection in self.connections]
                    await asyncio.gather(*closing)

    async def _wait_serving(self, timeout_s: float) -> None:
        serving = [connection.serving for connection in self.connections if connection.serving]
        if serving:
            await asyncio.wait(serving, timeout=timeout_s)

    def _connect_first(self) -> Connection:
        """Return a connection that the event loop has accepted; others may wait behind it."""
        if not self._looks_for_more:
            self._looks_for_more = True
            asyncio.get_running_loop().call_soon(self._accept_more)
        return self._connect()

    def _connect(self) -> Connection:
        # Those that are being accepted are made a turn of the loop later; this is one of them.
        others = max(0, len(self._accepting) - 1)
        if len(self.connections) + others >= self._limits.max_connections:
            self._make_room()
        connection = Connection(
            self._handle, self._refuse, self.connections, self._limits, self._turns
        )
        if self._tls:
            self._arriving.add(connection)
        if self._closing_grace_s is not None:
            connection.finish(self._closing_grace_s)
        return connection

    def _make_room(self) -> None:
        """Close a connection without a request, most likely one that has been so for long.

        Without this, clients that open connections and send nothing would keep out all others.
        """
        for _ in range(min(_MOST_LOOKED_AT, len(self.connections))):
            oldest = next(iter(self.connections))
            self.connections.move_to_end(oldest)
            if oldest.is_unused:
                del self.connections[oldest]
                oldest.abort()
                self.evicted += 1
                return


def _waiting(queue: socket.socket, most: int) -> Iterator[socket.socket]:
    """Accept the connections that wait in a queue, in their order.

    Args:
        queue: A listening socket that does not block.
        most: Number of connections after which it ends.
    """
    for _ in range(most):
        try:
            yield queue.accept()[0]
        except BlockingIOError:  # none waits
            return
        except OSError:  # its client has left
            continue
