"""The key-encryption key of the tests, and the keys of a platform without a control plane."""

from __future__ import annotations

import asyncio
import atexit
import base64
import shutil
import tempfile
from pathlib import Path

from broker.storage.platform_keys import open_keys
from fox.key_file import KeyFile
from pods import private_files
from tests.support.nats import NatsServer
from tests.support.platform_nats import connect

_FOLDER = Path(tempfile.mkdtemp(prefix="fox-test-keys-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
KEY_FILE = _FOLDER / "keys"
private_files.create(KEY_FILE, base64.b64encode(bytes(range(32))))
KEYS = KeyFile(KEY_FILE, is_own=False)


def make_keys(nats: NatsServer) -> None:
    """Make the platform's keys, as the control plane does at its first start.

    Processes find the key-encryption key by ``FOX_KEY_FILE``.
    """

    async def make() -> None:
        async with connect(nats.login("key-maker")) as bus:
            await open_keys(bus, KEYS, creates=True)

    asyncio.run(make())
