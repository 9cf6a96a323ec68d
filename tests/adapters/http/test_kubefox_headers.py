"""The lines of the ``kubefox-…`` headers, and their cache."""

from __future__ import annotations

import pytest

from adapters.http.kubefox_headers import KubefoxHeaders
from broker.dispatch.broker import Broker
from broker.telemetry.request_telemetry import RequestTelemetry
from fox import Kit
from tests.support.data_plane import DataPlane


@pytest.fixture
async def requests(plane: DataPlane) -> list[RequestTelemetry]:
    """A request in each of two deployments."""
    kit = Kit()
    kit.route("All()")(kit.default)  # type: ignore[arg-type]
    for name in ("v1", "v2"):
        await plane.deploy(name, {"web": kit})
    return [request_in(plane, name) for name in ("v1", "v2")]


def request_in(plane: DataPlane, deployment: str) -> RequestTelemetry:
    telemetry = start_request(plane.broker)
    target = plane.target("/", deployment, "team-a")
    telemetry.set_target(plane.broker.dispatch_target(target))
    return telemetry


def start_request(broker: Broker) -> RequestTelemetry:
    return broker.telemetry.request_telemetry("adapter/http")("event-1")


async def test_without_a_target_only_event_and_trace_are_known(plane: DataPlane) -> None:
    lines = KubefoxHeaders().lines(start_request(plane.broker))

    assert lines == "kubefox-event-id: event-1\r\nkubefox-trace-id: event-1\r\n"


async def test_a_full_cache_is_emptied_and_the_lines_stay_right(
    requests: list[RequestTelemetry],
) -> None:
    headers = KubefoxHeaders(max_cached=1)

    lines = [headers.lines(telemetry) for telemetry in (*requests, *requests)]

    named = [f"kubefox-app-deployment: {name}\r\n" for name in ("v1", "v2", "v1", "v2")]
    assert all(name in line for name, line in zip(named, lines, strict=True))
    assert len(headers._context_lines) == 1
