"""What the stores on JetStream have in common: errors in our words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from broker.bus import Bus
from model.errors import NatsUnavailable

WRONG_LAST_SEQUENCE = (10071, 10164)
"""Codes by which JetStream says that a compare-and-set lost."""


@contextlib.contextmanager
def reported(bus: Bus, what: str) -> Iterator[None]:
    """Turn the errors of nats-py into NatsUnavailable; ``what`` completes "cannot …".

    With the connection down it fails at once: nats-py would keep the request until the reconnect,
    and the caller would wait for its time-out.
    """
    if not bus.is_ready:
        raise NatsUnavailable(f"cannot {what}: the connection to NATS is down")
    try:
        yield
    except APIError as error:
        reason = error.description or f"code {error.code}"
        raise NatsUnavailable(f"cannot {what}: NATS refuses ({reason})") from error
    except (NatsError, TimeoutError, OSError) as error:
        raise NatsUnavailable(f"cannot {what}: NATS does not answer") from error
