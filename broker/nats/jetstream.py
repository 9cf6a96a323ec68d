"""Common parts of the stores on JetStream: buckets, translated errors, and health of writes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Awaitable, Iterator

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import APIError
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.missing_storage import find_or_make
from broker.nats.replicas import create_replicated
from kubefox.errors import FoxError, NatsUnavailable

FORGET_FAILURE_S = 60.0
"""How long a failed write counts; after that, the state of the stream is unknown."""

_MAKE_ROOM = (
    "make room on its disk; the NATS of `fox up` then continues by itself, any other NATS has to "
    "be restarted"
)
# Messages of the kernel for a full disk, a disk quota and a file size limit.
_FULL = ("no space left", "quota exceeded", "file too large")


async def ensure_bucket(
    bus: Bus, name: str, *, history: int = 1, ttl_s: float | None = None
) -> KeyValue:
    """Return the KV bucket ``name``; if it is missing, make it or wait for control to make it.

    Args:
        bus: Connection to use.
        name: Name of the bucket.
        history: Revisions kept of each key, at most 64.
        ttl_s: Age at which entries are removed; None keeps them.
    """
    jetstream = bus.jetstream()

    def make(replicas: int) -> Awaitable[KeyValue]:
        config = api.KeyValueConfig(bucket=name, history=history, ttl=ttl_s, replicas=replicas)
        return jetstream.create_key_value(config)

    return await find_or_make(
        bus,
        f"bucket {name}",
        lambda: jetstream.key_value(name),
        lambda: create_replicated(bus, make),
    )


class WriteHealth:
    """Whether a stream accepts writes, judged by the latest write of this process.

    Once nats-server has failed to write a stream's file, it refuses all further writes to that
    stream until it is restarted, and still serves reads.

    Args:
        bus: Connection that the writes use; a reconnect forgets the last failure.
        forget_failure_s: How long a failed write counts.
    """

    def __init__(self, bus: Bus, forget_failure_s: float = FORGET_FAILURE_S) -> None:
        self._bus = bus
        self.forget_failure_s = forget_failure_s
        self._failed_at_s = -math.inf
        bus.on_reconnect(self._forget)

    @property
    def is_writable(self) -> bool:
        """Whether no write has failed lately."""
        return time.monotonic() - self._failed_at_s > self.forget_failure_s

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the outcome of a write; one that is refused for other reasons is a success."""
        try:
            yield
        except NatsUnavailable:
            # Without a connection the state of the stream is unknown.
            if self._bus.is_ready:
                self._failed_at_s = time.monotonic()
            raise
        except FoxError:
            self._failed_at_s = -math.inf
            raise
        self._failed_at_s = -math.inf

    async def _forget(self) -> None:
        self._failed_at_s = -math.inf


def refusal_error(action: str, error: APIError) -> NatsUnavailable:
    """Return the error for a refusal by NATS; ``action`` completes "cannot …"."""
    reason = error.description or f"code {error.code}"
    is_full = any(sign in reason for sign in _FULL)
    cure = f": {_MAKE_ROOM}" if is_full else ""
    return NatsUnavailable(f"cannot {action}: NATS refuses ({reason}){cure}")


def no_answer_error(action: str, *, writes: bool = False) -> NatsUnavailable:
    """Return the error for a request that NATS did not answer; see ``translated_errors``."""
    cure = f"; if its disk is full, {_MAKE_ROOM}" if writes else ""
    return NatsUnavailable(f"cannot {action}: NATS does not answer{cure}")


@contextlib.contextmanager
def translated_errors(bus: Bus, action: str, *, writes: bool = False) -> Iterator[None]:
    """Turn the errors of nats-py into NatsUnavailable.

    If the connection is down, this fails at once, unless there are other servers to connect to.
    nats-py would keep the request until the reconnect, and the caller would wait for its time-out.

    Args:
        bus: Connection in use.
        action: Completes "cannot …".
        writes: Whether the action writes, so that a full disk may be the cause.
    """
    if not bus.is_ready and not bus.is_clustered:
        raise NatsUnavailable(f"cannot {action}: the connection to NATS is down")
    try:
        yield
    except APIError as error:
        raise refusal_error(action, error) from error
    except (NatsError, TimeoutError, OSError) as error:
        raise no_answer_error(action, writes=writes) from error
