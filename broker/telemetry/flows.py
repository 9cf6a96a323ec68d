"""What an event's streams carry, counted while they do: an export may take hours.

There is no span of a stream: the span of its event lasts as long, so one of its own would say the
same twice. What it carried are attributes of that span.
"""

from __future__ import annotations

import msgspec

from broker.telemetry.metrics import Series
from model.telemetry import Attributes


class StreamFigures(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the streams of one hop carried; "in" is the request's body, "out" the answer's."""

    bytes_in: int = 0
    chunks_in: int = 0
    bytes_out: int = 0
    chunks_out: int = 0

    def attributes(self) -> Attributes:
        """Return what a span shows of them."""
        shown = {
            "kubefox.stream.bytes_in": self.bytes_in,
            "kubefox.stream.chunks_in": self.chunks_in,
            "kubefox.stream.bytes_out": self.bytes_out,
            "kubefox.stream.chunks_out": self.chunks_out,
        }
        return {name: value for name, value in shown.items() if value}


class FlowIn:
    """The body of a request; a ``broker.stream.Meter``."""

    __slots__ = ("_series", "chunks", "size_bytes")

    def __init__(self, series: Series | None) -> None:
        """Start with nothing; ``series`` counts along."""
        self._series = series
        self.chunks = self.size_bytes = 0

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""
        self.chunks += 1
        self.size_bytes += size_bytes
        if self._series is not None:
            self._series.add_stream_bytes(bytes_in=size_bytes)


class FlowOut(FlowIn):
    """The body of an answer."""

    __slots__ = ()

    def count(self, size_bytes: int) -> None:
        """Count a chunk."""
        self.chunks += 1
        self.size_bytes += size_bytes
        if self._series is not None:
            self._series.add_stream_bytes(bytes_out=size_bytes)


class Flows:
    """The streams of one hop.

    Args:
        series: Counts along; None where another hop counts the same bytes already.

    Attributes:
        request: Meter of the request's body.
        answer: Meter of the answer's body.
    """

    def __init__(self, series: Series | None = None) -> None:
        """Start with nothing."""
        self.request = FlowIn(series)
        self.answer = FlowOut(series)

    def figures(self) -> StreamFigures:
        """Return what was counted until now."""
        request, answer = self.request, self.answer
        return StreamFigures(request.size_bytes, request.chunks, answer.size_bytes, answer.chunks)
