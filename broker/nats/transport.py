"""The socket of nats-py with a fast path in and out.

nats-py reads into a buffer, wakes a task, and parses there. It writes by waking another task. Each
wake-up costs one more turn of the loop on every hop of a request. The fast path passes on whole
messages in the turn in which the socket delivers them, and writes in the turn after ``send``,
without a task. Passing on messages at the socket takes p50 at one connection from 375 to 360 µs.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport
from nats.errors import Error as NatsError

from broker.nats.parser import FastPathParser

TURN_BYTES = 16 * 1024
"""Bytes of messages that are passed on in one turn of the loop: a hundred messages or more.

A read takes up to 256 KiB, a thousand small messages.
"""


class ConnectionBroken(NatsError, ConnectionResetError):
    """The connection to NATS is closed, and nats-py does not know it yet.

    It stands for the RuntimeError of uvloop, which no caller expects: nats-py's tasks connect again
    after an OSError, and its callers treat its errors as those of a lost connection.
    """


class FastPathTransport(TcpTransport):
    """A connection to NATS; over TLS it reads and writes as nats-py's own does.

    Args:
        parser: Receives what is read.
    """

    def __init__(self, parser: FastPathParser) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._parser = parser
        self._socket: asyncio.WriteTransport | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._is_write_scheduled = False
        self._after_write: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        # nats-py makes a transport of its own if this one is false.
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect; see nats-py."""
        if self._socket is not None:
            # nats-py forgets a connection to a server that did not answer, without closing it.
            self._socket.abort()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=buffer_size, loop=loop)
        protocol = _FastPathProtocol(reader, self._parser)
        async with asyncio.timeout(connect_timeout):
            transport, _ = await loop.create_connection(
                lambda: protocol, uri.hostname or "", uri.port or 0
            )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer
        self._socket = transport

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Go on over TLS; see nats-py."""
        await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        self._socket = self._io_writer.transport if self._io_writer is not None else None

    @property
    def is_open(self) -> bool:
        """Whether there is a socket, and it is not closed."""
        return self._io_writer is not None and not self._io_writer.is_closing()

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        writer = self._io_writer
        return writer is not None and writer.get_extra_info("ssl_object") is not None

    @property
    def unwritten_bytes(self) -> int:
        """Bytes that the socket has not accepted yet."""
        socket = self._socket
        return self._unsent_bytes + (socket.get_write_buffer_size() if socket is not None else 0)

    def send(self, command: bytes) -> None:
        """Write a command in the next turn of the loop, with all others sent in this turn.

        A write per command would be a system call per command, here and at the server. With 32
        requests at once that takes the server's CPU from 11 to 49 µs a request.
        """
        if not self._is_write_scheduled:
            self._is_write_scheduled = True
            asyncio.get_running_loop().call_soon(self._write_turn)
        self._unsent.append(command)
        self._unsent_bytes += len(command)

    def call_after_write(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, after what is sent in this turn of the loop was written."""
        self._after_write.append(callback)
        if not self._is_write_scheduled:
            self._is_write_scheduled = True
            asyncio.get_running_loop().call_soon(self._write_turn)

    def _write_turn(self) -> None:
        self._is_write_scheduled = False
        self._write_unsent()
        if self._after_write:
            # The loop itself writes to the socket at the end of this turn.
            loop = asyncio.get_running_loop()
            for callback in self._after_write:
                loop.call_soon(callback)
            self._after_write.clear()

    def _write_unsent(self) -> None:
        if not self._unsent:
            return
        commands = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        # Commands for a lost connection must not be sent on the next one: their requests have been
        # failed already.
        if self._socket is not None and not self._socket.is_closing():
            self._socket.write(commands)

    def abort(self) -> None:
        """Close the connection without writing what is left.

        Closing it writes that first, which takes a quarter of an hour if the server is stopped, or
        the network does not reach it.
        """
        if self._socket is not None:
            self._socket.abort()

    def write(self, payload: bytes) -> None:
        """Write a command of nats-py.

        Raises:
            ConnectionBroken: The connection is closed.
        """
        self.writelines([payload])

    def writelines(self, payload: list[bytes]) -> None:
        """Write nats-py's commands, after what was sent before them.

        nats-py's flusher may run before the turn in which ``send`` would write. A client that never
        connected calls this when it closes, and has nothing to write to.

        Raises:
            ConnectionBroken: The connection is closed.
        """
        self._write_unsent()
        if self._io_writer is None:
            return
        if self._io_writer.is_closing():
            raise ConnectionBroken("the connection to NATS is closed")
        self._io_writer.writelines(payload)

    async def drain(self) -> None:
        """Wait until the socket accepts more; a client that never connected need not wait.

        Raises:
            ConnectionBroken: The connection is closed.
        """
        if self._io_writer is None:
            return
        try:
            await self._io_writer.drain()
        except OSError as error:
            raise ConnectionBroken("the connection to NATS is closed") from error


class _FastPathProtocol(asyncio.StreamReaderProtocol):
    """Passes whole fast-path messages on, and leaves the rest to nats-py's read loop."""

    def __init__(self, reader: asyncio.StreamReader, parser: FastPathParser) -> None:
        super().__init__(reader)
        self._reader = reader
        self._parser = parser
        self._socket: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        # Nothing may overtake data that nats-py's read loop has not read.
        if self._parser.is_between_commands and not self._reader._buffer:  # type: ignore[attr-defined] # noqa: SLF001 - see private_api
            if len(data) > TURN_BYTES and (end := self._parser.deliver(data[:TURN_BYTES])):
                self._put_off(data[end:])
                return
            data = data[self._parser.deliver(data) :]
        if data:
            super().data_received(data)

    def _put_off(self, rest: bytes) -> None:
        """Go on with the rest of what was read in the next turn of the loop."""
        self._rest = rest
        if self._socket is not None and not self._socket.is_closing():
            self._socket.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        rest, self._rest = self._rest, b""
        if self._socket is not None and not self._socket.is_closing():
            self._socket.resume_reading()
        if rest:
            self.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        rest, self._rest = self._rest, b""
        self._parser.deliver(rest)
        super().connection_lost(exc)
