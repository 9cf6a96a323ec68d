"""Streams and buckets that do not exist yet: only control may make them.

Whoever may make a stream is an administrator: its configuration can copy every other stream, and
publish to every subject. So the other processes wait for the streams that they need, and ask
control for the buckets that are made when they are first used.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import Attempts
from broker.nats.replicas import create_replicated
from broker.runtime.cancelling import cancellable
from kubefox import subjects
from kubefox.errors import DeadlineExceeded, FoxError, NatsUnavailable, NoPodReady

logger = logging.getLogger(__name__)

BUCKETS = ("kubefox-state-", "kubefox-ticks", "kubefox-event-attempts")
"""Prefixes of the names of the buckets that control makes when it is asked to."""

_POLL_S = 0.2
_ANSWER_S = 5.0
_CONTROL_S = 10.0
"""In a cluster, time for control to leave a server that hangs, and to answer over another one."""

Found = TypeVar("Found")


class _BucketRequest(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    ttl_s: float | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_BucketRequest).decode


async def find_or_make(
    bus: Bus,
    name: str,
    find: Callable[[], Coroutine[Any, Any, Found]],
    make: Callable[[], Awaitable[Found]],
) -> Found:
    """Return a stream or bucket; make it if it is missing, or wait until control has made it.

    Args:
        bus: Connection to use.
        name: For people.
        find: Returns it, or raises NotFoundError.
        make: Makes it and returns it.
    """
    is_reported = False
    while True:
        try:
            return await cancellable(find())
        except NotFoundError:
            if bus.makes_streams:
                return await make()
        if not is_reported:
            logger.warning("%s is missing: waiting for control, which makes it", name)
            is_reported = True
        await asyncio.sleep(_POLL_S)


async def make_bucket(bus: Bus, name: str, ttl_s: float | None) -> None:
    """Make a bucket for plain data, or have control make it.

    Raises:
        NatsUnavailable: Control does not run, or cannot make it.
    """
    if bus.makes_streams:
        # Two processes that create it at once both succeed: the configuration is the same.
        await create_replicated(
            bus,
            lambda replicas: bus.jetstream().create_key_value(
                api.KeyValueConfig(bucket=name, ttl=ttl_s, direct=True, replicas=replicas)
            ),
        )
        return
    request = _encode(_BucketRequest(name=name, ttl_s=ttl_s))
    try:
        refusal = await _ask_control(bus, request)
    except NoPodReady as error:
        raise NatsUnavailable(
            f"bucket {name} is missing, and no control runs to make it: start `fox serve control`"
        ) from error
    except DeadlineExceeded as error:
        raise NatsUnavailable(
            f"bucket {name} is missing, and control, which makes it, does not answer"
        ) from error
    if refusal:
        raise NatsUnavailable(f"control cannot make bucket {name}: {refusal.decode()}")


async def _ask_control(bus: Bus, request: bytes) -> bytes:
    """Return control's answer; in a cluster, ask again while it goes from one server to another."""
    if not bus.is_clustered:
        return await bus.request(subjects.BUCKETS, request, _ANSWER_S)
    attempts = Attempts(bus, _CONTROL_S)
    while await attempts.begin():
        try:
            return await bus.request(subjects.BUCKETS, request, attempts.timeout_s)
        except (NoPodReady, DeadlineExceeded, NatsUnavailable) as error:
            attempts.fail(error)
    if isinstance(attempts.error, FoxError):
        raise attempts.error
    raise NatsUnavailable("NATS does not answer") from attempts.error


async def answer_bucket_request(bus: Bus, payload: bytes, reply: str) -> None:
    """Make the bucket that another process asks for; for control."""
    request = _decode(payload)
    refusal = ""
    if request.name.startswith(BUCKETS):
        try:
            await make_bucket(bus, request.name, request.ttl_s)
        except (NatsError, FoxError, TimeoutError) as error:
            refusal = str(error) or type(error).__name__
    else:
        refusal = "it is not one that is made on request"
    if refusal:
        logger.warning("bucket %s cannot be made: %s", request.name, refusal)
    await bus.publish(reply, refusal.encode())
