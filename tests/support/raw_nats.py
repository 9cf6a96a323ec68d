"""A NATS client that speaks the protocol by hand, and reports which acts the server refuses."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

import msgspec

from broker.nats.credentials.login import Login

_refused = re.compile(
    rb"-ERR .Permissions Violation for \w+ to \"(.*?)\"(?: using queue \"(.*)\")?"
).match


class RawClient:
    """A connection; made by ``connect_raw``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._subscriptions = 0

    async def refused_publishes(self, subjects: Iterable[str]) -> set[str]:
        """Publish to each subject, and return those that the server refuses."""
        return await self._refused(f"PUB {subject} 0\r\n\r\n" for subject in subjects)

    async def refused_subscriptions(self, subjects: Iterable[str]) -> set[str]:
        """Subscribe to each ``<subject>[ <queue>]``, and return those that the server refuses."""
        commands = []
        for number, subject in enumerate(subjects, self._subscriptions + 1):
            commands.append(f"SUB {subject} {number}\r\n")
            self._subscriptions = number
        refused = await self._refused(commands)
        ends = range(self._subscriptions - len(commands) + 1, self._subscriptions + 1)
        await self._refused(f"UNSUB {number}\r\n" for number in ends)
        return refused

    async def publish(self, subject: str, payload: bytes, reply: str = "") -> bool:
        """Publish a message, and return whether the server accepts it."""
        command = f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n"
        return not await self._send(command)

    async def _refused(self, commands: Iterable[str]) -> set[str]:
        return await self._send("".join(commands).encode())

    async def _send(self, commands: bytes) -> set[str]:
        self._writer.write(commands + b"PING\r\n")
        refused = set()
        while (line := await self._reader.readline()) != b"PONG\r\n":
            assert line, "the server has closed the connection"
            if found := _refused(line):
                refused.add(b" ".join(part for part in found.groups() if part).decode())
        return refused


@contextlib.asynccontextmanager
async def connect_raw(login: Login) -> AsyncIterator[RawClient]:
    """Connect with a login."""
    address = urlsplit(login.url)
    assert login.credentials is not None
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        info = msgspec.json.decode((await reader.readline()).removeprefix(b"INFO "))
        options = {
            "jwt": login.credentials.token,
            "sig": login.credentials.sign(info["nonce"]).decode(),
            "verbose": False,
            "headers": True,
            "no_responders": True,
        }
        writer.write(b"CONNECT " + msgspec.json.encode(options) + b"\r\n")
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
