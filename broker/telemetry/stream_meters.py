"""Meters of an event's streams; they count while the streams flow, which may take hours.

A stream has no span of its own: it would last as long as the span of its event. The span of the
event shows the totals as attributes.
"""

from __future__ import annotations

import msgspec

from broker.telemetry.metrics import Series
from kubefox.telemetry import Attributes


class StreamFigures(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Totals of an event's streams; "in" is the request's body, "out" the answer's."""

    bytes_in: int = 0
    chunks_in: int = 0
    bytes_out: int = 0
    chunks_out: int = 0

    def attributes(self) -> Attributes:
        """Return the attributes of the span, without those that are 0."""
        attributes = {
            "kubefox.stream.bytes_in": self.bytes_in,
            "kubefox.stream.chunks_in": self.chunks_in,
            "kubefox.stream.bytes_out": self.bytes_out,
            "kubefox.stream.chunks_out": self.chunks_out,
        }
        return {name: value for name, value in attributes.items() if value}


class RequestMeter:
    """Counts the body of a request; a ``broker.streams.endpoint.Meter``."""

    __slots__ = ("_series", "chunks", "size_bytes")

    def __init__(self, series: Series | None) -> None:
        self._series = series
        self.chunks = self.size_bytes = 0

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""
        self.chunks += 1
        self.size_bytes += size_bytes
        if self._series is not None:
            self._series.add_stream_bytes(bytes_in=size_bytes)


class AnswerMeter(RequestMeter):
    """Counts the body of an answer."""

    __slots__ = ()

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""
        self.chunks += 1
        self.size_bytes += size_bytes
        if self._series is not None:
            self._series.add_stream_bytes(bytes_out=size_bytes)


class StreamMeters:
    """The meters of one event's streams.

    Args:
        series: Counts the bytes too; None where the other end of the streams counts them.

    Attributes:
        request: Meter of the request's body.
        answer: Meter of the answer's body.
    """

    def __init__(self, series: Series | None = None) -> None:
        self.request = RequestMeter(series)
        self.answer = AnswerMeter(series)

    def figures(self) -> StreamFigures:
        """Return the totals until now."""
        request, answer = self.request, self.answer
        return StreamFigures(request.size_bytes, request.chunks, answer.size_bytes, answer.chunks)
