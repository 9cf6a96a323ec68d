"""How soon an emitted event runs while thousands of another deployment's events wait."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import aiohttp
import msgspec

from benchmarks.e2e.kubefox import KubeFox, serve_adapters
from benchmarks.overload import platform
from benchmarks.overload.effort import Effort
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Spread, spread

SAMPLES = 5
FLOOD_EVENT_S = 1.0
GIVE_UP_S = 120
_POLL_S = 0.002
_MS = 1_000


class WaitingEvents(msgspec.Struct, frozen=True, kw_only=True):
    """An event beside others that wait.

    Attributes:
        waiting: Emitted events of the other deployment; each is handled for a second.
        alone_ms: Time from the request that emits an event to the begin of its handler.
        beside_ms: The same while the others wait.
    """

    waiting: int
    alone_ms: Spread
    beside_ms: Spread


async def measure(effort: Effort) -> WaitingEvents:
    """Measure events of the victim before the flood and beside it."""
    print(f"Flood: {effort.events:,} waiting events", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            programs = Programs(Path(folder), stack)
            kubefox = await platform.start(programs)
            await serve_adapters(programs, kubefox.nats)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            emitter = Emitter(kubefox, session, Path(folder))
            await emitter.run_one()
            alone = [await emitter.run_one() for _ in range(SAMPLES)]
            await emitter.flood(effort.events)
            beside = [await emitter.run_one() for _ in range(SAMPLES)]
    return WaitingEvents(
        waiting=effort.events,
        alone_ms=spread([seconds * _MS for seconds in alone]),
        beside_ms=spread([seconds * _MS for seconds in beside]),
    )


class Emitter:
    """Makes the component ``busy`` emit events.

    Args:
        kubefox: The platform.
        session: Sends the requests.
        folder: For the files of the handlers.
    """

    def __init__(self, kubefox: KubeFox, session: aiohttp.ClientSession, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{kubefox.http_port}"
        self._session = session
        self._folder = folder
        self._number = 0

    async def run_one(self) -> float:
        """Emit one event of the victim; return the time until its handler has begun, in seconds."""
        self._number += 1
        file = self._folder / f"event-{self._number}"
        begin_s = time.time()
        await self._get(platform.victim_path("emit", f"count=1&for_s=0&file={quote(str(file))}"))
        async with asyncio.timeout(GIVE_UP_S):
            while not file.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(_POLL_S)
        return float(file.read_text()) - begin_s

    async def flood(self, count: int) -> None:
        """Emit events of the flood; return when all are stored."""
        query = f"count={count}&for_s={FLOOD_EVENT_S:g}"
        await self._get(platform.flood_path("emit", query))

    async def _get(self, path: str) -> None:
        async with self._session.get(f"{self._url}{path}") as response:
            text = await response.text()
            if response.status != HTTPStatus.OK:
                raise RuntimeError(f"{path}: {response.status} {text}")
