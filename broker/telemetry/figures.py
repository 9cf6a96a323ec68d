"""The figures of a process, counted since its start: its answer on ``telemetry.figures``."""

from __future__ import annotations

import msgspec

from broker.telemetry.histogram import Durations
from kubefox.steps import Steps

SERIES_A_STEP = 32
"""Series that are decoded, added or shown without a pause; one takes up to 30 µs."""
OTHER = "other"
"""Replaces app, deployment and virtual environment beyond the limit of series."""


class EventRole:
    """The values of ``EventLabels.role``: which process counted the events, and as what."""

    GENESIS = "genesis"
    COMPONENT = "component"
    ADAPTER = "adapter"


class EventLabels(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """Labels of an event, the same in figures and spans.

    Attributes:
        component: Name of the component, or ``adapter/<kind>``.
        hash: Full content hash; empty for an adapter.
        app: Name of the app; empty for unrouted requests, as the following two.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        role: Genesis events as their client sees them, events that a component handles, or events
            that an adapter serves to components.
    """

    component: str
    hash: str = ""
    app: str = ""
    deployment: str = ""
    virtual_environment: str = ""
    role: str = EventRole.COMPONENT

    def overflow(self) -> EventLabels:
        """Return the labels of the series that is shared beyond the limit."""
        return EventLabels(self.component, self.hash, OTHER, OTHER, OTHER, self.role)


class SeriesFigures(msgspec.Struct, frozen=True, array_like=True):
    """The figures of one component version in one deployment and virtual environment.

    Attributes:
        labels: Labels of the events.
        by_class: Durations of answered events, by the first digit of the status.
        queue: Times between sending and handling.
        in_flight: Number of events that are handled now.
        stream_bytes_in: Bytes of requests' bodies that were streams.
        stream_bytes_out: Bytes of answers' bodies that were streams.
        refused: Number of refused events, by the reason; see ``Refusal``.
    """

    labels: EventLabels
    by_class: dict[int, Durations]
    queue: Durations = Durations()
    in_flight: int = 0
    stream_bytes_in: int = 0
    stream_bytes_out: int = 0
    refused: dict[str, int] = {}


class ProcessFigures(msgspec.Struct, frozen=True, array_like=True):
    """All figures of one process.

    Attributes:
        process: Id of the process on NATS.
        service: ``<component>`` of a pod, ``kubefox`` of a process of the platform.
        series: Figures of its events.
        counters: Counts that only grow, by name; such as ``nats_reconnects``.
        gauges: Current values, by name; such as ``snapshot_revision``.
        is_final: Whether the process ends now.
        app: App of a pod, as the subject of its message proves it; empty for a process of the
            platform. The receiver sets it.
    """

    process: str
    service: str
    series: tuple[SeriesFigures, ...] = ()
    counters: dict[str, float] = {}
    gauges: dict[str, float] = {}
    is_final: bool = False
    app: str = ""


class _RawFigures(ProcessFigures, frozen=True, array_like=True):
    """Figures of a process whose series are not decoded yet."""

    series: tuple[msgspec.Raw, ...] = ()  # type: ignore[assignment]  # decoded one by one


_decode_raw = msgspec.msgpack.Decoder(_RawFigures).decode
_decode_series = msgspec.msgpack.Decoder(SeriesFigures).decode


def decode_figures(payload: bytes, app: str = "") -> Steps[ProcessFigures]:
    """Decode the figures of a process, some series in each step: a thousand of them take 4 ms.

    Args:
        payload: As it was received.
        app: See ``ProcessFigures.app``.

    Raises:
        DECODE_ERRORS: See ``kubefox.decoding``.
    """
    raw = _decode_raw(payload)
    series = []
    for number, encoded in enumerate(raw.series, 1):
        series.append(_decode_series(encoded))
        if number % SERIES_A_STEP == 0:
            yield
    return ProcessFigures(
        process=raw.process,
        service=raw.service,
        series=tuple(series),
        counters=raw.counters,
        gauges=raw.gauges,
        is_final=raw.is_final,
        app=app,
    )
