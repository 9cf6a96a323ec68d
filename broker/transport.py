"""The socket of nats-py with a short way in and out for what is hot.

nats-py reads into a buffer, wakes a task, and parses there; it writes by waking another task. Each
wake-up is one more turn of the loop, which every hop of a request would wait for. Here, what is hot
is handed over in the turn in which the socket brought it, and written in the next one after it was
sent, without a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import ParseResult

from nats.aio.transport import TcpTransport

from broker.parser import HotParser


class HotTransport(TcpTransport):
    """A connection to NATS; over TLS it is nats-py's own, which reads and writes as ever.

    Args:
        parser: Takes what is read.
    """

    def __init__(self, parser: HotParser) -> None:
        """Begin without a connection."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._parser = parser
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._is_due = False
        self._later: list[Callable[[], None]] = []

    def __bool__(self) -> bool:
        """Say that there is a transport: where none is, nats-py makes one of its own."""
        return True

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect; see nats-py."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=buffer_size, loop=loop)
        protocol = _HotProtocol(reader, self._parser)
        async with asyncio.timeout(connect_timeout):
            transport, _ = await loop.create_connection(
                lambda: protocol, uri.hostname or "", uri.port or 0
            )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        self._bare_io_reader = self._io_reader = reader
        self._bare_io_writer = self._io_writer = writer

    @property
    def unwritten_bytes(self) -> int:
        """What the socket has not taken yet."""
        writer = self._io_writer
        return self._unsent_bytes + (writer.transport.get_write_buffer_size() if writer else 0)

    def send(self, command: bytes) -> None:
        """Write in the next turn of the loop, together with all else that is sent in this one.

        A write for each command would be a system call for each, here and at the server: at 32
        requests at once that is five times of the server's CPU.
        """
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)
        self._unsent.append(command)
        self._unsent_bytes += len(command)

    def call_later(self, callback: Callable[[], None]) -> None:
        """Call something once when all that is sent in this turn of the loop has been written."""
        self._later.append(callback)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_due = False
        self._write_unsent()
        if self._later:
            # The loop itself writes at the end of this turn.
            loop = asyncio.get_running_loop()
            for callback in self._later:
                loop.call_soon(callback)
            self._later.clear()

    def _write_unsent(self) -> None:
        if not self._unsent:
            return
        commands = b"".join(self._unsent)
        self._unsent.clear()
        self._unsent_bytes = 0
        # What was sent on a connection that is gone must not reach the next: nobody waits for it.
        if self._io_writer is not None and not self._io_writer.transport.is_closing():
            self._io_writer.transport.write(commands)

    def writelines(self, payload: list[bytes]) -> None:
        """Write; a client that never connected closes too, and has nothing to write to.

        What was sent before goes first: nats-py's flusher may run ahead of the turn in which it
        would be written.
        """
        self._write_unsent()
        if self._io_writer is not None:
            self._io_writer.writelines(payload)

    async def drain(self) -> None:
        """Wait for the socket; see ``writelines``."""
        if self._io_writer is not None:
            await self._io_writer.drain()


class _HotProtocol(asyncio.StreamReaderProtocol):
    """Hands over whole hot messages, and leaves the rest to the reader's task."""

    def __init__(self, reader: asyncio.StreamReader, parser: HotParser) -> None:
        super().__init__(reader)
        self._reader = reader
        self._parser = parser

    def data_received(self, data: bytes) -> None:
        # Nothing may overtake what the reader's task has yet to take.
        if self._parser.is_between_commands and not self._reader._buffer:  # type: ignore[attr-defined] # noqa: SLF001
            data = data[self._parser.take(data) :]
        if data:
            super().data_received(data)
