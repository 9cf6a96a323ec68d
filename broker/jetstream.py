"""What the stores on JetStream have in common: errors in our words, and whether writes succeed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from broker.bus import Bus
from model.errors import FoxError, NatsUnavailable

WRONG_LAST_SEQUENCE = (10071, 10164)
"""Codes by which JetStream says that a compare-and-set lost."""


FORGET_S = 60.0
"""How long a failed write counts: after it, nobody knows."""

_MAKE_ROOM = (
    "make room on its disk; the NATS of `fox up` then goes on by itself, any other has to be "
    "restarted"
)
# What the kernel says of a disk, a quota and a limit of the process.
_FULL = ("no space left", "quota exceeded", "file too large")


class Writes:
    """Whether a stream takes writes, as far as the latest of this process tells.

    Once a write to a file of its has failed, nats-server refuses all further ones to that stream
    until it is restarted, and goes on serving what it holds.
    """

    def __init__(self, bus: Bus) -> None:
        """Know of no failure."""
        self._bus = bus
        self._failed_at_s = -math.inf
        bus.on_reconnect(self._forget)

    @property
    def are_possible(self) -> bool:
        """Whether the last one was, or is too long ago to tell."""
        return time.monotonic() - self._failed_at_s > FORGET_S

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note how a write ends; one that is refused for other reasons counts as possible."""
        try:
            yield
        except NatsUnavailable:
            # Without a connection nothing is known.
            if self._bus.is_ready:
                self._failed_at_s = time.monotonic()
            raise
        except FoxError:
            self._failed_at_s = -math.inf
            raise
        self._failed_at_s = -math.inf

    async def _forget(self) -> None:
        self._failed_at_s = -math.inf


def refusal(what: str, error: APIError) -> NatsUnavailable:
    """Return the error for what NATS refused; ``what`` completes "cannot …"."""
    reason = error.description or f"code {error.code}"
    cure = f": {_MAKE_ROOM}" if any(each in reason for each in _FULL) else ""
    return NatsUnavailable(f"cannot {what}: NATS refuses ({reason}){cure}")


def silence(what: str, *, writes: bool = False) -> NatsUnavailable:
    """Return the error for what NATS did not answer; ``what`` completes "cannot …"."""
    cure = f"; if it is full, {_MAKE_ROOM}" if writes else ""
    return NatsUnavailable(f"cannot {what}: NATS does not answer{cure}")


@contextlib.contextmanager
def reported(bus: Bus, what: str, *, writes: bool = False) -> Iterator[None]:
    """Turn the errors of nats-py into NatsUnavailable; ``what`` completes "cannot …".

    With the connection down it fails at once: nats-py would keep the request until the reconnect,
    and the caller would wait for its time-out.

    Args:
        bus: Connection in use.
        what: Completes "cannot …".
        writes: Whether it is a write, to which a full disk may be what stands in the way.
    """
    if not bus.is_ready:
        raise NatsUnavailable(f"cannot {what}: the connection to NATS is down")
    try:
        yield
    except APIError as error:
        raise refusal(what, error) from error
    except (NatsError, TimeoutError, OSError) as error:
        raise silence(what, writes=writes) from error
