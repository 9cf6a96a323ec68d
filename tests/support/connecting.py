"""A connection to the NATS of a test."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from broker.nats import bus as buses
from broker.nats.bus import Bus
from tests.support.nats import ANSWER_S


def connect(
    url: str, *, process_id: str = "one", **options: Any
) -> AbstractAsyncContextManager[Bus]:
    """Connect to NATS, whose JetStream may be slow.

    Args:
        url: Of the server.
        process_id: Unique id of the process.
        options: Further ones of ``broker.nats.bus.connect``.
    """
    return buses.connect(url, process_id=process_id, jetstream_timeout_s=ANSWER_S, **options)
