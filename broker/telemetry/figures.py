"""What a process tells when it is asked for its figures: counted since it started."""

from __future__ import annotations

import msgspec

from broker.telemetry.histogram import Durations

OTHER = "other"
"""Stands for deployment and virtual environment where there are too many to tell apart."""


class Role:
    """The values of ``Labels.role``: in what part a series' events were seen."""

    GENESIS = "genesis"
    COMPONENT = "component"
    ADAPTER = "adapter"


class Labels(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """What figures, spans and log lines are told apart by.

    Attributes:
        component: Name of the component, or ``adapter/<kind>``.
        hash: Full content hash; empty for an adapter.
        app: Name of the app; empty for requests that lead to none, as those below.
        deployment: Name of the deployment.
        virtual_environment: Name of the virtual environment.
        role: Genesis events as their client sees them, events that a component handles, or
            events that an adapter serves to components.
    """

    component: str
    hash: str = ""
    app: str = ""
    deployment: str = ""
    virtual_environment: str = ""
    role: str = Role.COMPONENT

    def overflow(self) -> Labels:
        """Return the labels of the series that takes what is too much."""
        return Labels(self.component, self.hash, OTHER, OTHER, OTHER, self.role)


class SeriesFigures(msgspec.Struct, frozen=True, array_like=True):
    """The figures of one component version in one deployment and virtual environment.

    Attributes:
        labels: Which.
        by_class: Durations by the first digit of the status.
        queue: Time between sending and handling.
        in_flight: How many are being handled.
        stream_bytes_in: Of requests' bodies that came as streams.
        stream_bytes_out: Of answers' bodies that went as streams.
    """

    labels: Labels
    by_class: dict[int, Durations]
    queue: Durations = Durations()
    in_flight: int = 0
    stream_bytes_in: int = 0
    stream_bytes_out: int = 0


class ProcessFigures(msgspec.Struct, frozen=True, array_like=True):
    """All figures of one process.

    Attributes:
        process: Its id on NATS.
        service: ``<component>``, ``adapters`` or ``control``: what it is.
        series: Of its events.
        counters: Only ever grow, by name; such as ``nats_reconnects``.
        gauges: As they are now, by name; such as ``snapshot_revision``.
        is_final: The process ends: these are its last.
    """

    process: str
    service: str
    series: tuple[SeriesFigures, ...] = ()
    counters: dict[str, float] = {}
    gauges: dict[str, float] = {}
    is_final: bool = False
