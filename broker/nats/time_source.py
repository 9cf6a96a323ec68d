"""Compares the platform's clock with that of NATS: once a minute, and after each reconnect.

Trusted processes ask JetStream, whose answers carry the time of the server. Pods have no right to
ask JetStream; they ask any broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

import msgspec

from broker.nats.bus import Bus
from broker.runtime import platform_clock
from broker.runtime.background import run_in_background
from broker.runtime.platform_clock import PlatformClock
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import FoxError

logger = logging.getLogger(__name__)

CHECK_S = 60.0
"""Interval between two comparisons."""
NOTABLE_S = 1.0
"""A larger difference is logged."""
_ANSWER_S = 2.0
_RETRY_S = 5.0


class _StreamInfo(msgspec.Struct):
    """The fields of JetStream's answer that are read.

    Attributes:
        ts: Time of the server.
    """

    ts: datetime


_decode_info = msgspec.json.Decoder(_StreamInfo).decode
encode_time = msgspec.msgpack.Encoder().encode
_decode_time = msgspec.msgpack.Decoder(float).decode

FetchTime = Callable[[Bus], Awaitable[float]]
"""Returns a Unix time of NATS from during the call; raises FoxError or a decode error."""


def jetstream_time(stream: str) -> FetchTime:
    """Return a function that asks JetStream for its time, by the state of a stream."""

    async def fetch(bus: Bus) -> float:
        answer = await bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", _ANSWER_S)
        return _decode_info(answer).ts.timestamp()

    return fetch


async def broker_time(bus: Bus) -> float:
    """Ask a broker for the time of the platform."""
    return _decode_time(await bus.request(subjects.CLOCK, b"", _ANSWER_S))


@contextlib.asynccontextmanager
async def follow_time(
    bus: Bus,
    fetch: FetchTime,
    *,
    clock: PlatformClock = platform_clock.clock,
    check_s: float = CHECK_S,
) -> AsyncIterator[None]:
    """Keep a clock at the time of NATS until the context ends; it is compared before it begins.

    Without an answer the clock goes on, and is compared again a few seconds later.

    Args:
        bus: Connection to use.
        fetch: Asks for the time.
        clock: The clock; that of the process by default.
        check_s: Interval between two comparisons.
    """
    comparison = _Comparison(bus, fetch, clock)
    reconnected = asyncio.Event()

    async def note_reconnect() -> None:
        reconnected.set()

    bus.on_reconnect(note_reconnect)
    is_done = await comparison.run()
    work = _repeat(comparison, reconnected, check_s, is_done=is_done)
    async with run_in_background(work, "the comparison of clocks"):
        yield


async def _repeat(
    comparison: _Comparison, reconnected: asyncio.Event, check_s: float, *, is_done: bool
) -> None:
    while True:
        # Not all processes at once.
        pause_s = min(check_s, CHECK_S if is_done else _RETRY_S)
        pause_s *= random.uniform(0.9, 1.1)  # noqa: S311 - spreads processes, no secret
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await reconnected.wait()
        reconnected.clear()
        is_done = await comparison.run()


class _Comparison:
    """Compares a clock with the time of NATS, and logs large differences once."""

    def __init__(self, bus: Bus, fetch: FetchTime, clock: PlatformClock) -> None:
        self._bus, self._fetch, self._clock = bus, fetch, clock
        self._is_first = True
        self._logged_s = 0.0

    async def run(self) -> bool:
        """Compare once, and return whether there was an answer."""
        asked_s = self._clock.monotonic_s()
        try:
            true_s = await self._fetch(self._bus)
        except (FoxError, *DECODE_ERRORS) as error:
            logger.debug("the clock could not be compared with that of NATS: %s", error)
            return False
        change_s = self._clock.correct(true_s, asked_s, self._clock.monotonic_s())
        self._log(change_s)
        self._is_first = False
        return True

    def _log(self, change_s: float) -> None:
        if not self._is_first and abs(change_s) > NOTABLE_S:
            logger.warning(
                "the clock of NATS was set %s by %.1f s; deadlines and due times follow it",
                "forward" if change_s > 0 else "back",
                abs(change_s),
            )
        ahead_s = self._clock.host_ahead_ns / 1e9
        if abs(ahead_s - self._logged_s) <= NOTABLE_S:
            return
        self._logged_s = ahead_s
        if abs(ahead_s) > NOTABLE_S:
            logger.warning(
                "the clock of host %s is %.1f s %s that of NATS. Events follow the clock of NATS; "
                "set this one by NTP, so that logs and traces have the right times",
                socket.gethostname(),
                abs(ahead_s),
                "ahead of" if ahead_s > 0 else "behind",
            )
        else:
            logger.info("the clock of host %s agrees with that of NATS again", socket.gethostname())
