"""The address of a NATS server, and how the processes of a benchmark get in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from broker.nats import bus as buses
from broker.nats.access import Access
from broker.nats.bus import Bus
from broker.nats.credentials import credentials_file
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.login import Login


class NatsAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server is.

    Attributes:
        url: Its URL.
        credentials: File with a key of the account; empty if the server lets anybody in.
    """

    url: str
    credentials: str = ""

    @property
    def arguments(self) -> tuple[str, str]:
        """The address as arguments of a command."""
        return self.url, self.credentials

    @property
    def environ(self) -> dict[str, str]:
        """The variables for a process of the platform."""
        return {
            "FOX_NATS_URL": self.url,
            "FOX_NATS_CREDENTIALS": self.credentials,
            "FOX_INSECURE_NATS": "false" if self.credentials else "true",
        }

    async def login(self, process_id: str) -> Login:
        """Return a login of a client that may do everything."""
        key = None
        if self.credentials:
            key = await asyncio.to_thread(credentials_file.read, Path(self.credentials))
        return Access(self.url, key).login(process_id, ALL)

    @contextlib.asynccontextmanager
    async def connect(self, process_id: str) -> AsyncIterator[Bus]:
        """Connect as a client that may do everything."""
        login = await self.login(process_id)
        async with buses.connect(
            login.url, process_id=process_id, credentials=login.credentials
        ) as bus:
            yield bus

    async def options(self) -> dict[str, Any]:
        """Return the options with which ``nats.connect`` gets in."""
        login = await self.login("benchmark")
        if login.credentials is None:
            return {"servers": self.url}
        token = login.credentials.token.encode()
        return {
            "servers": self.url,
            "user_jwt_cb": lambda: token,
            "signature_cb": login.credentials.sign,
        }
