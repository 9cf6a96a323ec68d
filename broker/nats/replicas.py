"""How many servers of a NATS cluster keep a copy of each stream and bucket.

As many as the cluster has servers, up to three: then no single server can lose data, and two of
three can go on without the third. The server is asked instead of counted: its list of addresses may
name one server several times or not at all, but it refuses a number that it cannot place.
``FOX_NATS_REPLICAS`` sets the number, for clusters that have servers for other uses.

Streams that exist get more copies when the cluster grows; see ``keep_replicated``. The number is
never lowered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from nats.js.errors import APIError

from broker.nats.bus import Bus
from broker.nats.stream_config import Config, read_configs, update_config
from broker.runtime.background import run_in_background
from kubefox.errors import FoxError, NatsUnavailable

logger = logging.getLogger(__name__)

MOST_REPLICAS = 3
"""Copies of a stream in a large cluster: a majority of them survives the loss of one."""
CHECK_S = 60.0
"""Interval at which streams are checked for missing copies."""
# "replicas > 1 not supported in non-clustered mode", "no suitable peers for placement"
_NO_CLUSTER, _NO_PEERS = 10074, 10005
PREFIXES = ("KV_kubefox", "OBJ_kubefox", "kubefox-")
"""Of the names of the platform's streams."""

Made = TypeVar("Made")


async def create_replicated(bus: Bus, make: Callable[[int], Awaitable[Made]]) -> Made:
    """Create a stream or bucket with as many copies as the cluster can keep.

    Args:
        bus: Connection to use; its ``replicas`` are wanted.
        make: Creates it with a number of copies.

    Raises:
        NatsUnavailable: The cluster has fewer servers than ``FOX_NATS_REPLICAS`` says.
        APIError: NATS refuses for another reason.
    """
    for count in _counts(bus):
        try:
            return await make(count)
        except APIError as error:
            if error.err_code not in (_NO_CLUSTER, _NO_PEERS):
                raise
    raise NatsUnavailable(
        f"NATS cannot keep {bus.replicas} copies of each stream (FOX_NATS_REPLICAS): the cluster "
        "has fewer servers with JetStream; start more of them, or set a smaller number"
    )


def _counts(bus: Bus) -> Sequence[int]:
    """Return the numbers of copies to try, the best first."""
    return (bus.replicas,) if bus.replicas else range(MOST_REPLICAS, 0, -1)


@contextlib.asynccontextmanager
async def keep_replicated(bus: Bus, check_s: float = CHECK_S) -> AsyncIterator[None]:
    """Give the platform's streams more copies when the cluster has grown, until the context ends.

    Args:
        bus: Connection to use.
        check_s: Interval between two checks.
    """
    reconnected = asyncio.Event()

    async def note_reconnect() -> None:
        reconnected.set()

    bus.on_reconnect(note_reconnect)
    work = _keep_replicated(bus, check_s, reconnected)
    async with run_in_background(work, "the check for copies of streams"):
        yield


async def _keep_replicated(bus: Bus, check_s: float, reconnected: asyncio.Event) -> None:
    while True:
        reconnected.clear()
        try:
            is_cluster = await raise_replicas(bus)
        except FoxError as error:
            logger.warning("cannot check how many copies of each stream NATS keeps: %s", error)
            is_cluster = True
        # A server joins a cluster only with a restart, after which this process connects again.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(check_s if is_cluster else None):
                await reconnected.wait()


async def raise_replicas(bus: Bus) -> bool:
    """Give each stream of the platform as many copies as the cluster can keep.

    Returns:
        Whether NATS is a cluster.

    Raises:
        FoxError: NATS does not answer.
    """
    for config in await read_configs(bus):
        if config["name"].startswith(PREFIXES) and not await _raise_one(bus, config):
            return False
    return True


async def _raise_one(bus: Bus, config: Config) -> bool:
    """Give one stream more copies; return False if NATS is no cluster."""
    current = config["num_replicas"]
    for count in _counts(bus):
        if count <= current:
            break
        refusal = await update_config(bus, {**config, "num_replicas": count})
        if refusal is None:
            logger.info("NATS now keeps %d copies of stream %s", count, config["name"])
            break
        if refusal.get("err_code") == _NO_CLUSTER:
            return False
        if bus.replicas or refusal.get("err_code") != _NO_PEERS:
            logger.warning(
                "NATS refuses %d copies of stream %s: %s",
                count,
                config["name"],
                refusal.get("description"),
            )
    return True
