"""An HTTP client that sends given bytes, and returns the response unchanged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec


class RawResponse(NamedTuple):
    """One HTTP/1.1 response; names of headers in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]

    def header(self, name: str) -> str:
        [value] = self.all(name)
        return value

    def json(self) -> dict[str, object]:
        return msgspec.json.decode(self.body, type=dict[str, object])


class Connection:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    def end(self) -> None:
        """Close the sending side; responses can still be read."""
        self._writer.write_eof()

    async def read_head(self) -> RawResponse:
        """Read the head of a response."""
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(": ") for line in lines if line]
        headers = [(name.lower(), value) for name, _, value in pairs]
        return RawResponse(int(status.split(" ")[1]), headers, b"")

    async def read(self, *, has_body: bool = True) -> RawResponse:
        answer = await self.read_head()
        length = int(answer.header("content-length")) if answer.all("content-length") else 0
        body = await self._reader.readexactly(length) if has_body else b""
        return answer._replace(body=body)

    async def read_some(self, size: int) -> bytes:
        """Read this number of bytes of a body."""
        return await self._reader.readexactly(size)

    async def read_until(self, separator: bytes) -> bytes:
        """Read up to some bytes, these included."""
        return await self._reader.readuntil(separator)

    async def wait_closed(self) -> bytes:
        """Read until the server closes the connection; return what was read."""
        try:
            return await self._reader.read()
        except ConnectionError:
            return b""


@contextlib.asynccontextmanager
async def connect(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, data: bytes, *, has_body: bool = True) -> RawResponse:
    """Send one request on a new connection, and return the response."""
    async with connect(port) as connection:
        await connection.send(data)
        return await connection.read(has_body=has_body)
