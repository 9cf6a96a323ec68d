"""What the load generator is told, and what it tells."""

from __future__ import annotations

import msgspec

from benchmarks.support.latency import Latencies


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to send.

    Attributes:
        port: On loopback.
        paths: Percent-encoded, with their queries; sent in turn.
        connections: All are open before the clock starts.
        duration_s: How long to send.
        rate_per_s: Requests due in a second: an open loop; None is a closed one.
        body_bytes: Of a POST; 0 sends GET.
        headers: Sent with each request, besides Host and Content-Length.
    """

    port: int
    paths: tuple[str, ...]
    connections: int = 32
    duration_s: float = 1
    rate_per_s: float | None = None
    body_bytes: int = 0
    headers: dict[str, str] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came back.

    Attributes:
        answers: Whole responses; of a closed loop, those within its time.
        seconds: The time they came in.
        latencies: Of those answers, whatever their status.
        failures: How often each status but 200 came, how many connections were ``lost``, how many
            requests ``unanswered`` or never sent long after the end.
    """

    answers: int
    seconds: float
    latencies: Latencies
    failures: dict[str, int] = {}

    @property
    def rate_per_s(self) -> float:
        """Answers in a second."""
        return self.answers / self.seconds
