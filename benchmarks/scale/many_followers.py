"""The cost of N followers of the bucket: ``python -m benchmarks.scale.many_followers N``.

Each follower has a connection and an ordered consumer of its own, as a process of the platform has.
It speaks only as much of NATS's protocol as this needs, so that thousands of them fit into one
process. The command prints what they cost nats-server, and when the last of them has a change.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from nats.js import api

from benchmarks.routing.bucket import Nats
from benchmarks.support.programs import POLL_S, rss_bytes, running_ns
from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.consumer_limit import add_consumer
from broker.nats.jetstream import ensure_bucket
from broker.nats.ordered_consumer import HEARTBEAT_S
from broker.storage.records_bucket import BUCKET, HISTORY
from kubefox.environment import Environment
from kubefox.records import encode, environment_key

STREAM = f"KV_{BUCKET}"
_OPENED_AT_ONCE = 50
_CHANGES = 50
_REST_S = 20
_HEADED_MESSAGE = b"HMSG "
_FIELDS_WITH_REPLY = 6
_LINE_END = b"\r\n"


class _Counter:
    """The messages that all followers have received.

    Attributes:
        changes: Number of changes.
        heartbeats: Number of heartbeats of their consumers.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.heartbeats = 0


class _Follower(asyncio.Protocol):
    """One connection; it counts the messages of its consumer."""

    def __init__(self, subject: str, counter: _Counter) -> None:
        self._subject = subject
        self._counter = counter
        self._rest = b""
        self._transport: asyncio.WriteTransport
        self.subscribed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Subscribe; the server answers the ping when it has done so."""
        # uvloop's transports have the methods, not the type.
        self._transport = cast("asyncio.WriteTransport", transport)
        options = msgspec.json.encode({"verbose": False, "headers": True, "no_responders": True})
        self._transport.write(
            b"CONNECT " + options + f"\r\nSUB {self._subject} 1\r\nPING\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Read the commands of the server that are whole."""
        self._rest += data
        while (end := self._rest.find(_LINE_END)) >= 0:
            line, begin = self._rest[:end], end + len(_LINE_END)
            if line.startswith((_HEADED_MESSAGE, b"MSG ")):
                begin += int(line.rsplit(b" ", 1)[1]) + len(_LINE_END)
                if len(self._rest) < begin:
                    return
            self._rest = self._rest[begin:]
            self._take(line)

    def _take(self, line: bytes) -> None:
        if line == b"PING":
            self._transport.write(b"PONG\r\n")
        elif line == b"PONG":
            self.subscribed.set()
        elif line.startswith(b"MSG "):
            self._counter.changes += 1
        elif line.startswith(_HEADED_MESSAGE):
            self._counter.heartbeats += 1
            fields = line.split(b" ")
            if len(fields) == _FIELDS_WITH_REPLY:
                # Flow control.
                self._transport.write(b"PUB " + fields[3] + b" 0\r\n\r\n")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale.many_followers", description=__doc__
    )
    parser.add_argument("followers", type=int, help="number of followers")
    uvloop.run(_measure(parser.parse_args().followers))


async def _measure(followers: int) -> None:
    counter = _Counter()
    with tempfile.TemporaryDirectory(prefix="kubefox-bench-") as folder:
        nats = Nats(Path(folder))
        await nats.start()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(nats.stop)
            writer = await stack.enter_async_context(buses.connect(nats.url, process_id="writer"))
            await ensure_bucket(writer, BUCKET, history=HISTORY)
            before_bytes = rss_bytes((nats.pid,))
            for first in range(0, followers, _OPENED_AT_ONCE):
                numbers = range(first, min(followers, first + _OPENED_AT_ONCE))
                await asyncio.gather(*(_follow(nats, writer, at, counter) for at in numbers))
            each_kib = (rss_bytes((nats.pid,)) - before_bytes) / followers / 1024
            print(f"{followers:,} followers; NATS: {each_kib:.0f} KiB each", flush=True)
            await _show_rest(nats, counter, followers)
            await _show_changes(nats, writer, counter, followers)


async def _follow(nats: Nats, writer: Bus, number: int, counter: _Counter) -> None:
    subject = f"follower.{number}"
    loop, port = asyncio.get_running_loop(), int(nats.url.rsplit(":", 1)[1])
    _, follower = await loop.create_connection(
        lambda: _Follower(subject, counter), "127.0.0.1", port
    )
    await follower.subscribed.wait()
    config = api.ConsumerConfig(
        deliver_subject=subject,
        filter_subject=f"$KV.{BUCKET}.>",
        deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT,
        ack_policy=api.AckPolicy.NONE,
        max_deliver=1,
        flow_control=True,
        idle_heartbeat=HEARTBEAT_S,
        mem_storage=True,
        num_replicas=1,
    )
    await add_consumer(writer, STREAM, config)


async def _show_rest(nats: Nats, counter: _Counter, followers: int) -> None:
    before_ns, before = running_ns((nats.pid,)), counter.heartbeats
    await asyncio.sleep(_REST_S)
    share = (running_ns((nats.pid,)) - before_ns) / _REST_S / 1e9
    beats = (counter.heartbeats - before) / _REST_S
    print(f"at rest: NATS {share:.1%} of a core; {beats:,.0f} heartbeats/s", flush=True)
    due = followers / HEARTBEAT_S
    if beats < due / 2:
        print(f"  {due:,.0f} heartbeats/s are due")


async def _show_changes(nats: Nats, writer: Bus, counter: _Counter, followers: int) -> None:
    before_ns, before, times_ms = running_ns((nats.pid,)), counter.changes, []
    value = encode(Environment(name="dev"))
    for number in range(1, _CHANGES + 1):
        begin_s = time.perf_counter()
        await writer.jetstream().publish(f"$KV.{BUCKET}.{environment_key('dev')}", value)
        while counter.changes - before < number * followers:  # noqa: ASYNC110 - NATS delivers
            await asyncio.sleep(POLL_S)
        times_ms.append((time.perf_counter() - begin_s) * 1e3)
    used_us = (running_ns((nats.pid,)) - before_ns) / _CHANGES / followers / 1e3
    print(
        f"a change: NATS {used_us:.1f} µs a follower; the last one has it after "
        f"{statistics.median(times_ms):.0f} ms (at most {max(times_ms):.0f})"
    )


if __name__ == "__main__":
    main()
