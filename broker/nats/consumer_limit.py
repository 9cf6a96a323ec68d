"""The number of consumers that a stream may have: one for each process that follows it.

Since nats-server 2.15, a stream without a limit of its own has the server's
``default_max_consumers``: 1,000. Then the 1,001st process could not follow the bucket. A limit of
the stream itself overrides the server's default, on embedded and external servers alike. Control
raises it when it starts: other processes may not change streams. The limit of a NATS account stays
in force: only its operator can change it.
"""

from __future__ import annotations

import logging

from nats.js import api
from nats.js.errors import APIError

from broker.nats.bus import Bus
from broker.nats.stream_config import read_config, update_config
from broker.runtime.cancelling import cancellable
from kubefox.errors import NatsUnavailable

logger = logging.getLogger(__name__)

MAX_CONSUMERS = 100_000
"""Consumers that a followed stream may have."""

_LIMIT_REACHED = 10026


async def add_consumer(
    bus: Bus, stream: str, config: api.ConsumerConfig, *, max_consumers: int = MAX_CONSUMERS
) -> api.ConsumerInfo:
    """Add a consumer to a stream; raise the stream's limit if that is reached.

    Args:
        bus: Connection to use.
        stream: Name of the stream.
        config: Of the consumer.
        max_consumers: The raised limit.

    Raises:
        NatsUnavailable: The limit is reached and cannot be raised; the message names the setting.
        nats.errors.Error: The stream does not exist, or the server has no JetStream.
        TimeoutError: NATS does not answer.
    """
    jetstream = bus.jetstream()
    try:
        return await cancellable(jetstream.add_consumer(stream, config))
    except APIError as error:
        if error.err_code != _LIMIT_REACHED:
            raise
        if not bus.makes_streams:
            raise _limit_error(stream) from error
        await raise_limit(bus, stream, max_consumers)
    try:
        return await cancellable(jetstream.add_consumer(stream, config))
    except APIError as error:
        if error.err_code != _LIMIT_REACHED:
            raise
        raise _limit_error(stream) from error


async def raise_limit(bus: Bus, stream: str, max_consumers: int = MAX_CONSUMERS) -> None:
    """Raise the limit of consumers of a stream; control calls this at its start for its streams.

    Raises:
        NatsUnavailable: NATS refuses, or does not answer.
    """
    config = await read_config(bus, stream)
    if config.get("max_consumers", 0) >= max_consumers:
        # Another process has just raised it; if not, the next attempt shows it.
        return
    config["max_consumers"] = max_consumers
    refusal = await update_config(bus, config)
    if refusal is not None:
        logger.warning("NATS refuses to raise the limit of %s: %s", stream, refusal)
        raise _limit_error(stream)
    logger.info("raised the limit of %s to %d consumers", stream, max_consumers)


def _limit_error(stream: str) -> NatsUnavailable:
    return NatsUnavailable(
        f"cannot follow {stream}: it has as many consumers as NATS allows. Raise "
        "`max_consumers` in the JetStream limits of the NATS account, or else "
        "`default_max_consumers` in the JetStream limits of nats-server: each process of the "
        "platform needs one, and control and the pod runners need two"
    )
