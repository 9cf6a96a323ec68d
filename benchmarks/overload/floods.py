"""Every flood that a neighbour is measured beside."""

from __future__ import annotations

from benchmarks.overload.flood_job import FloodJob, Manner
from benchmarks.overload.platform import flood_path

MB = 1_000_000


def floods(port: int) -> tuple[FloodJob, ...]:
    """Return every flood."""
    return (*_of_long_requests(port), *_of_many_requests(port))


def _of_long_requests(port: int) -> tuple[FloodJob, ...]:
    """Return the floods whose requests take long."""
    return (
        FloodJob(
            name="500 requests of 20 ms of CPU, again and again",
            port=port,
            request=_get(flood_path("compute", "for_s=0.02")),
            connections=500,
            manner=Manner.REPEAT,
            holds_ms=20,
        ),
        FloodJob(
            name="1,200 requests that wait for 5 s",
            port=port,
            request=_get(flood_path("wait", "for_s=5")),
            connections=1_200,
            manner=Manner.REPEAT,
        ),
        FloodJob(
            name="1,000 half-sent chunked bodies",
            port=port,
            request=_post(flood_path("body"), "Transfer-Encoding: chunked") + "3\r\nabc\r\n",
            connections=1_000,
            manner=Manner.HOLD,
        ),
        FloodJob(
            name="1,000 open pages of server-sent events",
            port=port,
            request=_get(flood_path("events")),
            connections=1_000,
            manner=Manner.HOLD,
        ),
    )


def _of_many_requests(port: int) -> tuple[FloodJob, ...]:
    """Return the floods that consist of many short requests, large bodies or new connections."""
    return (
        FloodJob(
            name="200 clients that leave POSTs of 3 s after 0.2 s, again and again",
            port=port,
            request=_post(flood_path("wait", "for_s=3"), "Content-Length: 0"),
            connections=200,
            manner=Manner.LEAVE,
            stay_s=0.2,
        ),
        FloodJob(
            name="500 clients that send short requests, again and again",
            port=port,
            request=_get(flood_path("answer")),
            connections=500,
            manner=Manner.REPEAT,
        ),
        FloodJob(
            name="100 clients that send whole bodies of 1 MB, again and again",
            port=port,
            request=_post(flood_path("body"), f"Content-Length: {MB}"),
            body_bytes=MB,
            connections=100,
            manner=Manner.REPEAT,
        ),
        FloodJob(
            name="100 clients that fetch answers of 0.4 MB, again and again",
            port=port,
            request=_get(flood_path("page", f"bytes={4 * MB // 10}")),
            connections=100,
            manner=Manner.REPEAT,
        ),
    )


def _get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"


def _post(path: str, framing: str) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"
