"""The delivery of an emitted event: what its emitter asks for, and what its pod is told.

Two attempts of one event never run at the same time, and only an attempt whose handler has begun
counts. So the pod asks the delivering adapter immediately before it runs the handler. The adapter
permits it once for each attempt, as long as it waits for this attempt.
"""

from __future__ import annotations

import re

import msgspec

MAX_TIMEOUT_S = 3_600.0
"""Longest time limit of an emitted event."""
MAX_DELAY_S = 7 * 86_400.0
"""Longest delay of an emitted event."""

CONTEXT_LIFE_S = 46 * 86_400.0
"""How long an event may need its context after that was replaced: as long as it may be delayed and
be retried, be a dead letter, and its stream may last, and a day more. A dead letter that is
delivered again gets a new token."""

RUNS = b"1"
"""A pod's answer for an event whose handler it runs."""
RUNS_NOT = b"0"
PERMITTED = b"1"
"""An adapter's answer to a pod that asks whether it may run the handler."""
REFUSED = b"0"

is_process_id = re.compile(r"[A-Za-z0-9_-]{1,200}").fullmatch


class Delivery(msgspec.Struct, array_like=True, kw_only=True, frozen=True, gc=False):
    """A part of the head of an emitted event. Its field order is the wire format.

    Attributes:
        timeout_ms: Time limit of one attempt, from the begin of the handler; 0 leaves the default.
        due_ms: Unix time in ms before which the event is not delivered; 0 delays nothing.
        begin: Subject at which the pod asks whether it may run the handler; empty while stored.
        is_alone: Whether no other emitted event may run beside it in its pod: an earlier attempt
            ran while its pod died.
        deliverer: Number of the process that delivers it (``broker.runtime.ids``); 0 while stored.
        key: Deduplication key of its emitter; see ``kubefox.deduplication``.
    """

    timeout_ms: int = 0
    due_ms: int = 0
    begin: str = ""
    is_alone: bool = False
    deliverer: int = 0
    key: str = ""
