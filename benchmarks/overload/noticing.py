"""How soon a fault is noticed: requests in flight are answered, and new ones succeed again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import msgspec
import psutil

from benchmarks.e2e.kubefox import KubeFox, start_fox_up, start_separately
from benchmarks.overload import platform
from benchmarks.overload.effort import Effort
from benchmarks.overload.flooder import HOST, read_answer
from benchmarks.support.programs import Programs
from benchmarks.support.rounds import Spread, spread

HOUR_S = 3_600
WAIT_S = 6
"""Longer than any of these faults stays unnoticed; the platform waits for it when it ends."""
NEW_REQUESTS = 20
WORKERS = 2
GIVE_UP_S = 60
_POLL_S = 0.005
_BEGUN_S = 0.3
LOST = "lost"


class Noticed(msgspec.Struct, frozen=True, kw_only=True):
    """One fault.

    Attributes:
        fault: Description of the fault.
        answered_s: Time from the fault until a POST in flight was answered, or its connection lost.
        answers: Answers to these POSTs in the order of the repetitions: a status, or ``lost``.
        restored_s: Time from the fault until 20 new requests were answered with 200; one that was
            refused is sent again.
    """

    fault: str
    answered_s: Spread
    answers: tuple[str, ...]
    restored_s: Spread


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was made once; see ``Noticed``."""

    answered_s: float
    answer: str
    restored_s: float


Strike = Callable[[KubeFox, int], Awaitable[None]]
"""Makes the fault; gets the platform and the client's port of the request in flight."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault, and the request that is in flight when it occurs.

    Attributes:
        name: Description.
        path: Path and query of the POST in flight.
        strike: Makes the fault; None if the request itself is the fault.
    """

    name: str
    path: str = platform.victim_path("wait", f"for_s={WAIT_S}")
    strike: Strike | None = None


async def _kill_pod(kubefox: KubeFox, _port: int) -> None:
    await _signal_pod(kubefox, signal.SIGKILL)


async def _stop_pod(kubefox: KubeFox, _port: int) -> None:
    await _signal_pod(kubefox, signal.SIGSTOP)


async def _signal_pod(kubefox: KubeFox, number: signal.Signals) -> None:
    (pid,) = (await kubefox.pods(platform.COMPONENT))[platform.COMPONENT]
    os.kill(pid, number)


async def _kill_nats(kubefox: KubeFox, _port: int) -> None:
    (up,) = kubefox.processes["fox up"]
    (nats,) = (one for one in psutil.Process(up).children() if one.name() == "nats-server")
    nats.kill()


async def _kill_worker(kubefox: KubeFox, port: int) -> None:
    """Kill the worker that holds the connection of a client's port."""
    (adapter,) = kubefox.processes["adapter"]
    for worker in psutil.Process(adapter).children():
        if any(found.raddr and found.raddr.port == port for found in worker.net_connections()):
            worker.kill()
            return
    raise RuntimeError(f"no worker of the adapter has a connection to port {port}")


IN_ONE = (
    Fault(name="`kill -9` of the only pod", strike=_kill_pod),
    Fault(name="SIGSTOP of the only pod", strike=_stop_pod),
    Fault(
        name="a handler that blocks the only pod",
        path=platform.victim_path("block", f"for_s={HOUR_S}"),
    ),
    Fault(name="`kill -9` of the embedded nats-server", strike=_kill_nats),
)
APART = (Fault(name=f"`kill -9` of one of {WORKERS} HTTP workers", strike=_kill_worker),)


async def measure(effort: Effort) -> tuple[Noticed, ...]:
    """Make every fault several times, each repetition on a platform of its own."""
    samples: dict[str, list[Sample]] = {fault.name: [] for fault in (*IN_ONE, *APART)}
    for number in range(effort.repeats):
        print(f"Faults {number + 1} of {effort.repeats}", file=sys.stderr, flush=True)
        async with _fox_up() as kubefox:
            # The pause before a restart grows with each death of a pod.
            first = number % len(IN_ONE)
            for fault in (*IN_ONE[first:], *IN_ONE[:first]):
                samples[fault.name].append(await sample(kubefox, fault))
        async with _workers() as kubefox:
            for fault in APART:
                samples[fault.name].append(await sample(kubefox, fault))
    return tuple(noticed(name, found) for name, found in samples.items())


@contextlib.asynccontextmanager
async def _fox_up() -> AsyncIterator[KubeFox]:
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            programs = Programs(Path(folder), stack)
            kubefox = await start_fox_up(programs)
            await platform.deploy(kubefox, programs)
            yield kubefox


@contextlib.asynccontextmanager
async def _workers() -> AsyncIterator[KubeFox]:
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        async with AsyncExitStack() as stack:
            programs = Programs(Path(folder), stack)
            kubefox = await start_separately(programs, workers=WORKERS)
            await platform.deploy(kubefox, programs)
            yield kubefox


async def sample(kubefox: KubeFox, fault: Fault) -> Sample:
    """Make a fault, and return when the platform answers again."""
    await _restored(kubefox)
    reader, writer = await asyncio.open_connection(HOST, kubefox.http_port)
    head = f"POST {fault.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    begin_s = time.perf_counter()
    writer.write(head.encode())
    await asyncio.sleep(_BEGUN_S)
    if fault.strike is not None:
        begin_s = time.perf_counter()
        await fault.strike(kubefox, writer.get_extra_info("sockname")[1])
    async with asyncio.timeout(GIVE_UP_S):
        (answer, answered_s), restored_s = await asyncio.gather(
            _answered(reader, writer), _restored(kubefox)
        )
    return Sample(answered_s=answered_s - begin_s, answer=answer, restored_s=restored_s - begin_s)


async def _answered(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[str, float]:
    """Return the answer to the request in flight, and the time at which it came."""
    try:
        answer = await read_answer(reader)
    except (OSError, EOFError):
        answer = LOST
    finally:
        writer.close()
    return answer, time.perf_counter()


async def _restored(kubefox: KubeFox) -> float:
    """Send new requests at once, and return the time at which all had been answered with 200."""
    await asyncio.gather(*(_get_until_ok(kubefox.http_port) for _ in range(NEW_REQUESTS)))
    return time.perf_counter()


async def _get_until_ok(port: int) -> None:
    head = f"GET {platform.victim_path('answer')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    while True:
        with contextlib.suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(head.encode())
                if await read_answer(reader) == str(HTTPStatus.OK.value):
                    return
            finally:
                writer.close()
        await asyncio.sleep(_POLL_S)


def noticed(fault: str, samples: list[Sample]) -> Noticed:
    """Return the result of one fault over all repetitions."""
    return Noticed(
        fault=fault,
        answered_s=spread([sample.answered_s for sample in samples]),
        answers=tuple(sample.answer for sample in samples),
        restored_s=spread([sample.restored_s for sample in samples]),
    )
