"""The connection to NATS: requests, subscriptions, JetStream buckets, watches and leases."""

import importlib
import sys
from typing import Any, cast

# nats-py imports aiohttp, if it is installed, for WebSocket connections, which are not used here.
# That costs every pod 13 MB and 0.25 s, so aiohttp is hidden from this import unless it is loaded
# already.
if "aiohttp" not in sys.modules:
    modules = cast("dict[str, Any]", sys.modules)
    modules["aiohttp"] = None
    try:
        importlib.import_module("nats.aio.transport")
    finally:
        del modules["aiohttp"]
