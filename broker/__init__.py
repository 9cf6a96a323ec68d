"""The only owner of NATS: carries events, keeps the control plane's data, answers for contexts."""

import importlib
import sys
from typing import Any, cast

# nats-py imports aiohttp, if it is there, for WebSocket connections that are not made here: 13 MB
# and a quarter of a second in every pod. So it does not find it, unless it is loaded already.
if "aiohttp" not in sys.modules:
    modules = cast("dict[str, Any]", sys.modules)
    modules["aiohttp"] = None
    try:
        importlib.import_module("nats.aio.transport")
    finally:
        del modules["aiohttp"]
