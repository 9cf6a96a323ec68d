"""Access to an existing NATS, from the settings, and the ids of processes there."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from broker.nats.access import Access
from broker.nats.anonymous import lets_anybody_in
from broker.nats.credentials import credentials_file
from broker.runtime.settings import Settings
from broker.runtime.tokens import new_token
from kubefox.errors import InvalidRequest
from kubefox.names import clean_name


async def existing_access(settings: Settings) -> Access:
    """Return the access to the NATS that the settings name.

    Raises:
        InvalidRequest: The credentials are not readable, or the server lets anybody in.
    """
    path, source = settings.nats_credentials, None
    if path:
        source = await asyncio.to_thread(credentials_file.read, Path(path))
    if not settings.insecure_nats and await lets_anybody_in(settings.nats_url):
        raise InvalidRequest(
            "the NATS server lets in clients without credentials, so everybody who reaches it "
            'would be an administrator of this platform: set it up as the page "Install" says, or '
            "pass --insecure-nats"
        )
    return Access(settings.nats_url, source, is_insecure=settings.insecure_nats)


def new_process_id() -> str:
    """Return a unique id for a process of this machine."""
    host = clean_name(socket.gethostname()) or "host"
    return f"{host}-{os.getpid()}-{new_token()}"
