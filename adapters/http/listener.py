"""The listening socket and the connections that it has taken."""

from __future__ import annotations

import asyncio

from adapters.http.connection import Connection, Handle, Refuse

_BACKLOG = 1024
_CUT_S = 1.0


class Listener:
    """Takes connections from ``open`` to ``close``.

    Args:
        handle: Answers a request.
        refuse: Answers what is none.

    Attributes:
        connections: Those that are open.
    """

    def __init__(self, handle: Handle, refuse: Refuse) -> None:
        """Prepare to listen."""
        self._handle, self._refuse = handle, refuse
        self._server: asyncio.Server | None = None
        self.connections: set[Connection] = set()

    @property
    def is_open(self) -> bool:
        """Whether connections are taken."""
        return self._server is not None and self._server.is_serving()

    async def open(self, host: str, port: int, *, shares_port: bool) -> int:
        """Listen from now on and return the port.

        Args:
            host: Address to listen on.
            port: 0 takes a free one.
            shares_port: Whether other processes listen on the same one.

        Raises:
            OSError: The port is in use, or may not be used.
        """
        self._server = await asyncio.get_running_loop().create_server(
            self._connect, host, port, backlog=_BACKLOG, reuse_port=shares_port or None
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, drain_s: float) -> None:
        """Take no new connection, and answer what is being answered.

        Args:
            drain_s: What takes longer is cut off.
        """
        if self._server is None:
            return
        self._server.close()
        for each in tuple(self.connections):
            each.finish()
        if serving := [each.serving for each in self.connections if each.serving]:
            await asyncio.wait(serving, timeout=drain_s)
        for each in tuple(self.connections):
            each.abort()
        # Who was sending an answer is told that nobody takes it any more.
        if cut := [each.serving for each in self.connections if each.serving]:
            await asyncio.wait(cut, timeout=_CUT_S)

    def _connect(self) -> Connection:
        return Connection(self._handle, self._refuse, self.connections)
