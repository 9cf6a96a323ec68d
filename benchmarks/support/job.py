"""The load generator's input and output: a job, and its outcome."""

from __future__ import annotations

import msgspec

from benchmarks.support.latency import Latencies

UNANSWERED = "unanswered"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A load: which requests to send, how many and how fast.

    Attributes:
        port: Port of the server on loopback.
        paths: Percent-encoded paths with queries; requested one after another.
        connections: Number of connections; all are open before the clock starts.
        duration_s: Time in which requests are sent.
        max_answers: Number of answers after which a closed loop ends early; None is no limit.
        rate_per_s: Requests due in a second, for an open loop; None selects a closed loop.
        body_bytes: Size of the body of a POST; 0 sends GET.
        headers: Headers of each request, besides Host and Content-Length.
        grace_s: Time after the end in which answers are still accepted.
    """

    port: int
    paths: tuple[str, ...]
    connections: int = 32
    duration_s: float = 1
    max_answers: int | None = None
    rate_per_s: float | None = None
    body_bytes: int = 0
    headers: dict[str, str] = {}
    grace_s: float = 5


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a job.

    Attributes:
        answers: Number of complete responses; in a closed loop, those within its duration.
        seconds: Time in which they arrived.
        latencies: Percentiles over all answers, whatever their status.
        failures: Number of answers by status other than 200, of ``lost`` connections, and of
            requests that stayed ``unanswered`` until the grace time was over.
        accepted: Percentiles over the answers with status 200.
        goodput_per_s: Answers with status 200 in a second, from the first one on for the duration
            of the job: without the time until the first one, and without those that come late.
    """

    answers: int
    seconds: float
    latencies: Latencies
    failures: dict[str, int] = {}
    accepted: Latencies = Latencies()
    goodput_per_s: float = 0

    @property
    def succeeded(self) -> int:
        """Number of answers with status 200."""
        return self.answers - sum(
            count for status, count in self.failures.items() if status != UNANSWERED
        )

    @property
    def rate_per_s(self) -> float:
        """Answers in a second."""
        return self.answers / self.seconds
