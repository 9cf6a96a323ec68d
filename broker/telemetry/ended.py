"""All that has ended in one process and is yet to be settled, by kind."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Protocol

from broker.telemetry.genesis import MeasuredGenesis, settle_genesis
from broker.telemetry.handled import Handled, settle_handled
from broker.telemetry.settling import Later, Settling
from broker.telemetry.tracing import Tracing

logger = logging.getLogger(__name__)


class Settleable(Protocol):
    """One that knows by itself what is to be done when it has ended."""

    def settle(self) -> None:
        """Count it, and put its span by or on its way."""


class Ended:
    """What has ended in one process.

    Args:
        tracing: Takes the spans.

    Attributes:
        tracing: As it was given.
        genesis: Genesis events.
        handled: Events of which nothing but their times and their status is to be told.
        others: All other hops.
    """

    def __init__(self, tracing: Tracing) -> None:
        """Start with nothing."""
        self.tracing = tracing
        self.genesis: Settling[MeasuredGenesis] = Settling(partial(settle_genesis, tracing))
        self.handled: Settling[Handled] = Settling(partial(settle_handled, tracing))
        self.others: Settling[Settleable] = Settling(_settle_each)

    def defer(self, after_write: Later | None, in_quiet: Later | None) -> None:
        """Settle by these from now on: what is answered over NATS, and what ends in an adapter."""
        self.handled.defer(after_write)
        self.others.defer(after_write)
        self.genesis.defer(in_quiet)

    def settle(self) -> None:
        """Settle all of it now."""
        self.handled.settle()
        self.others.settle()
        self.genesis.settle()


def _settle_each(ended: Iterable[Settleable]) -> None:
    for each in ended:
        try:
            each.settle()
        except Exception:
            logger.exception("an event could not be counted")
