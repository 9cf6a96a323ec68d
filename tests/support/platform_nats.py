"""A connection to the NATS of a running platform, which may do everything there."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from broker.nats.access import Access
from broker.nats.bus import Bus
from broker.nats.credentials import credentials_file
from broker.nats.credentials.claims import ALL
from broker.nats.credentials.login import Login
from fox.data_dir import read_info
from tests.support import connecting


def platform_login(data_dir: Path, process_id: str) -> Login:
    """Return a login to the NATS of the platform in a data folder."""
    info = read_info(data_dir)
    assert info is not None
    return Access(info.nats_url, credentials_file.read(Path(info.nats_credentials))).login(
        process_id, ALL
    )


def connect(login: Login) -> AbstractAsyncContextManager[Bus]:
    """Connect with a login."""
    return connecting.connect(login.url, process_id=login.process_id, credentials=login.credentials)


async def read_platform_login(data_dir: Path, process_id: str) -> Login:
    """Return the same as ``platform_login``, from within an event loop."""
    return await asyncio.to_thread(platform_login, data_dir, process_id)
