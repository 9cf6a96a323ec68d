"""The client that transfers bodies and receives events, the same for every contestant."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import msgspec

PART = bytes(128 * 1024)
MB = 1e6


class StreamContestant(msgspec.Struct, frozen=True, kw_only=True):
    """A server that sends and receives bodies.

    Attributes:
        name: Name in the report.
        url: URL of the bodies.
        events_url: URL of the events, or empty.
        processes: Process ids, by role.
    """

    name: str
    url: str
    events_url: str = ""
    processes: dict[str, tuple[int, ...]]


class WrongSize(Exception):
    """A body was not received completely."""


async def download(session: aiohttp.ClientSession, url: str, size: int) -> float:
    """Download a body; return the rate in MB (10^6 bytes) a second."""
    begun_s, received = time.perf_counter(), 0
    async with session.get(url, params={"size": str(size)}) as answer:
        async for chunk in answer.content.iter_any():
            received += len(chunk)
    return _rate(size, received, begun_s)


async def upload(session: aiohttp.ClientSession, url: str, size: int) -> float:
    """Upload a body and wait for the answer; return the rate in MB a second."""
    begun_s = time.perf_counter()
    async with session.post(url, data=_parts(size)) as answer:
        received = int(await answer.text())
    return _rate(size, received, begun_s)


async def event_latencies(session: aiohttp.ClientSession, url: str, count: int) -> list[float]:
    """Return the sorted times between the creation of an event and its arrival, in µs."""
    found: list[float] = []
    async with session.get(url, params={"count": str(count)}) as answer:
        while event := await answer.content.readline():
            if event.startswith(b"data: "):
                found.append((time.time_ns() - int(event[6:])) / 1000)
    return sorted(found)


def reset_peaks(pids: Sequence[int]) -> None:
    """Reset the peak memory of processes."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pids: Sequence[int]) -> int:
    """Return the largest peak memory of any of the processes since ``reset_peaks``."""
    return max(_high_water(pid) for pid in pids)


def _high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nVmHWM:")[2].split()[0]) * 1024


async def _parts(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(PART)):
        yield PART


def _rate(size: int, received: int, begun_s: float) -> float:
    if received != size:
        raise WrongSize(f"{received} of {size} bytes were received")
    return size / MB / (time.perf_counter() - begun_s)
