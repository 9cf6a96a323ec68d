"""An event that was handled and of which little is to be told: its times, its status, whose it is.

Nearly all are. The event itself would keep its headers, its token and its body from being used
again while they are still in the processor's caches.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from broker.telemetry import trace_context
from broker.telemetry.metrics import end
from broker.telemetry.records import MAX_PATH, HandledRecord
from broker.telemetry.scope import Scope
from broker.telemetry.tracing import Tracing

_US = 1_000


class Handled(msgspec.Struct, gc=False, eq=False):
    """What is put by of it.

    Attributes:
        is_sampled: Whether its trace was sampled: it never was.
        scope: Whom it was for.
        status: HTTP status of the answer.
        start_ns: Unix time.
        end_ns: Unix time.
        sent_us: As the event brought it, as the rest.
        traceparent: Perhaps empty, but not sampled.
        id: See ``Event``.
        genesis_id: See ``Event``.
        method: See ``Event``.
        path: See ``Event``.
    """

    is_sampled: ClassVar[bool] = False

    scope: Scope
    status: int
    start_ns: int
    end_ns: int
    sent_us: int
    traceparent: str
    id: str
    genesis_id: str
    method: str
    path: str

    @property
    def trace_id(self) -> str:
        """Id of its trace."""
        return trace_context.trace_id_of(self.traceparent, self.genesis_id)

    def record(self) -> HandledRecord:
        """Return what is sent of it, if it is wanted."""
        return HandledRecord(
            self.traceparent,
            "",
            self.id,
            self.genesis_id,
            self.method,
            self.path[:MAX_PATH],
            self.scope.labels,
            self.start_ns,
            self.end_ns,
            self.status,
            "",
        )


def settle_handled(tracing: Tracing, ended: list[Handled]) -> None:
    """Count events, and keep them in mind for a while, or their spans if their trace is kept."""
    kept, is_any_wanted = tracing.kept, False
    for each in ended:
        start_ns, sent_us = each.start_ns, each.sent_us
        end(
            each.scope.words,
            each.status,
            each.end_ns - start_ns,
            waited_ns(start_ns, sent_us) if sent_us else -1,
        )
        # As trace_id: a call less for nearly all.
        trace_id = each.genesis_id if not each.traceparent else each.trace_id
        if trace_id in kept:
            is_any_wanted = True
    tracing.finish_all(ended, is_any_wanted=is_any_wanted)


def waited_ns(start_ns: int, sent_us: int) -> int:
    """Return how long an event waited for its handling."""
    # Hosts' clocks differ a little: what seems to come from the future has not waited.
    return max(0, start_ns - sent_us * _US)
