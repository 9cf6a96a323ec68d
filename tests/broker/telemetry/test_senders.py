"""A pod reports figures and spans of its own events only."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker.telemetry.figures import OTHER, EventLabels, EventRole, ProcessFigures, SeriesFigures
from broker.telemetry.histogram import BUCKETS, Durations
from broker.telemetry.records import RecordBatch
from broker.telemetry.senders import MAX_NAMES, fault_of_figures, fault_of_spans
from broker.telemetry.span import SpanKind, SpanRecord
from broker.telemetry.trace_store import TraceQuery
from kubefox import subjects
from kubefox.senders import PLATFORM, Sender
from tests.broker.telemetry.world import open_telemetry_world
from tests.support.nats import NatsServer

DIGEST = "a" * 32
POD = f"ui-{DIGEST[:12]}-x7"
UI = Sender("shop", f"ui@{DIGEST}")
OWN = EventLabels("ui", DIGEST, "shop", "v1", "live")
ONCE = Durations((1, *[0] * (BUCKETS - 1)), 1.0)
FOREIGN = [
    msgspec.structs.replace(OWN, component="api"),
    msgspec.structs.replace(OWN, hash="b" * 32),
    msgspec.structs.replace(OWN, app="blog"),
    msgspec.structs.replace(OWN, role=EventRole.GENESIS),
]


def figures(labels: EventLabels = OWN, **changes: Any) -> ProcessFigures:
    series = (SeriesFigures(labels, {2: ONCE}, ONCE),)
    own = ProcessFigures(process=f"{POD}-1", service="ui", series=series)
    return msgspec.structs.replace(own, **changes)


def spans(labels: EventLabels = OWN, pod: str = POD) -> RecordBatch:
    span = SpanRecord("1" * 32, "2" * 16, "", "handle", SpanKind.SERVER, 0, 1, labels)
    return RecordBatch(f"{pod}-1", pod, (span,))


@pytest.mark.parametrize("labels", [OWN, OWN.overflow(), msgspec.structs.replace(OWN, app=OTHER)])
def test_a_pod_reports_its_own_events(labels: EventLabels) -> None:
    assert not fault_of_figures(UI, figures(labels))
    assert not fault_of_spans(UI, spans(labels))


@pytest.mark.parametrize("labels", FOREIGN)
def test_a_pod_does_not_report_events_of_others(labels: EventLabels) -> None:
    assert "reports events of" in fault_of_figures(UI, figures(labels))
    assert "reports events of" in fault_of_spans(UI, spans(labels))


FORGED = 'x{} 1\nkubefox_requests_total{app="bank"} 1\n# '


@pytest.mark.parametrize("kind", ["counters", "gauges"])
@pytest.mark.parametrize("name", [FORGED, "", "A", "a-b", "requests", "x_total", "a" * 65])
def test_a_pod_makes_no_metrics_of_other_names(kind: str, name: str) -> None:
    changes: dict[str, Any] = {kind: {name: 1.0}}

    assert "other names" in fault_of_figures(UI, figures(OWN, **changes))


def test_a_pod_makes_few_metrics() -> None:
    many = {f"x{number}": 1.0 for number in range(MAX_NAMES + 1)}

    assert "other names" in fault_of_figures(UI, figures(counters=many))
    assert not fault_of_figures(UI, figures(counters={"nats_reconnects": 1.0}))


def test_a_pod_does_not_report_for_another_process() -> None:
    other = f"api-{DIGEST[:12]}-x7"

    assert "reports for pod" in fault_of_figures(UI, figures(process=f"{other}-1"))
    assert "sends figures of control" in fault_of_figures(UI, figures(service="control"))
    assert "reports for pod" in fault_of_spans(UI, spans(pod=other))


@pytest.mark.parametrize("labels", [OWN, *FOREIGN])
def test_a_process_of_the_platform_is_trusted(labels: EventLabels) -> None:
    assert not fault_of_figures(PLATFORM, figures(labels, process="host-1", service="control"))
    assert not fault_of_spans(PLATFORM, spans(labels, pod=""))


async def test_control_counts_and_ignores_what_is_forged(own_nats_server: NatsServer) -> None:
    async with open_telemetry_world(own_nats_server.url) as world:
        bus, encode = world.plane.broker.bus, msgspec.msgpack.encode

        await bus.publish(subjects.figures_of(UI), encode(figures(FOREIGN[0])))
        await bus.publish(subjects.spans_of(UI), encode(spans(FOREIGN[0])))
        await bus.publish(subjects.kept_spans_of(UI), encode(spans(FOREIGN[1])))
        await bus.publish(subjects.figures_of(UI), encode(figures(OWN)))
        totals = await world.collector.pull()
        traces = await world.collector.traces.recent(TraceQuery())

        assert OWN in totals.series
        assert FOREIGN[0] not in totals.series
        assert traces == ()
        assert bus.forged.count == 3
