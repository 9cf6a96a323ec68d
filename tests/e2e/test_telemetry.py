"""Each version has its own telemetry, even for the components and pods that versions share."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.demo.page import Browser
from examples.demo.platform import Platform, wait_for
from examples.order_app import ENVIRONMENTS, build
from tests.e2e.order_app_platform import DEPLOYMENTS, SOON_S, OrderAppPlatform
from tests.support.otlp_receiver import collector

pytestmark = pytest.mark.asyncio(loop_scope="session")

VISITS = {"order-app-v1": 30, "order-app-v2": 20, "order-app-v3": 10}


async def load(world: OrderAppPlatform, environment: str) -> None:
    """Send requests to each deployment at once; all are served by the same pod of order-worker."""
    await asyncio.gather(
        *(
            world.browser.get(environment, "/fulfillment", deployment=deployment)
            for deployment, count in VISITS.items()
            for _ in range(count)
        )
    )


async def stats(world: OrderAppPlatform, environment: str) -> dict[str, Any]:
    """Return the figures once all visits in an environment are counted.

    Those of a process that answers too late are missing. From then on, the platform knows them.
    """
    found: dict[str, Any] = {}
    visits = sum(VISITS.values())

    async def are_counted() -> bool:
        found.update(json.loads(await world.fox("stats", "-o", "json")))
        workers = [row for row in found["components"] if row["component"] == "order-worker"]
        handled = [row for worker in workers for row in worker["deployments"]]
        counts = [requests(rows, environment) for rows in (handled, found["deployments"])]
        return all(sum(count.values()) >= visits for count in counts)

    await wait_for(are_counted, SOON_S)
    return found


def requests(rows: list[dict[str, Any]], environment: str) -> dict[str, int]:
    """Return the number of requests in an environment, by deployment."""
    return {
        row["deployment"]: row["total"]["requests"]
        for row in rows
        if row["virtual_environment"] == environment
    }


def component(found: dict[str, Any], name: str) -> dict[str, Any]:
    (component_row,) = [row for row in found["components"] if row["component"] == name]
    return dict(component_row)


async def test_stats_of_three_versions_on_one_shared_pod_add_up(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    pods = [pod for pod in await world.platform.pods() if pod["component"] == "order-worker"]

    await load(world, environment)

    found = await stats(world, environment)
    worker = component(found, "order-worker")
    rows = worker["deployments"]
    clients = requests(found["deployments"], environment)
    assert len(pods) == 1
    assert requests(rows, environment) == clients == VISITS
    assert sum(row["total"]["requests"] for row in rows) == worker["all"]["total"]["requests"]
    for row in rows:
        assert 0 < row["total"]["p50_ms"] <= row["total"]["p95_ms"] <= row["total"]["p99_ms"]


async def test_stats_are_shown_as_tables(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    await load(world, environment)
    await stats(world, environment)

    both = await world.fox("stats")
    deployments = await world.fox("stats", "--by", "deployment")

    assert "order-worker" in both
    assert "order-worker" not in deployments
    (row,) = [
        line.split()
        for line in deployments.splitlines()
        if line.startswith("order-app-v2") and environment in line
    ]
    assert row[:3] == ["order-app-v2", environment, str(VISITS["order-app-v2"])]


async def test_prometheus_reads_the_same_figures(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    await load(world, environment)
    await stats(world, environment)

    url, credentials = f"{world.platform.control_url}/metrics", world.platform.credentials
    async with aiohttp.request("GET", url, headers=credentials) as response:
        text = await response.text()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        sample.labels["deployment"]: sample.value
        for sample in families["kubefox_requests"].samples
        if sample.labels["component"] == "order-worker"
        and sample.labels["virtual_environment"] == environment
    }
    assert counted == VISITS
    ready = [
        sample.value
        for sample in families["kubefox_pods"].samples
        if sample.labels["phase"] == "ready"
    ]
    assert ready[0] >= 6


async def sampled(world: OrderAppPlatform, environment: str, path: str = "") -> tuple[str, str]:
    """Request a page with a trace; return the ids of trace and event."""
    url = world.browser.url(environment, path, deployment="order-app-v3")
    async with aiohttp.request("GET", f"{url}&kf-sample=true") as response:
        await response.read()
        return response.headers["kubefox-trace-id"], response.headers["kubefox-event-id"]


async def spans_of(world: OrderAppPlatform, name: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def is_whole() -> bool:
        done = await world.platform.run("traces", name, "-o", "json")
        found[:] = json.loads(done.out)["spans"] if not done.code else []
        return len(found) >= count

    await wait_for(is_whole, SOON_S)
    return found


async def test_a_trace_shows_every_hop_of_its_own_deployment(world: OrderAppPlatform) -> None:
    trace_id, event_id = await sampled(world, "team-a")
    versions = (await world.platform.versions())["order-app-v3"]

    spans = await spans_of(world, event_id, 12)
    shown = await world.fox("traces", trace_id[:12])

    took_part = {
        span["service"]: span["attributes"].get("kubefox.component.hash", "")[:12] for span in spans
    }
    assert took_part == {
        "adapter/http": "",
        "order-ui": versions["order-ui"],
        "api-server": versions["api-server"],
        "review": versions["review"],
        "adapter/state-store": "",
    }
    assert {span["attributes"]["kubefox.deployment"] for span in spans} == {"order-app-v3"}
    assert f"review@{versions['review']}" in shown
    assert "process review: GET /ratings" in shown
    assert trace_id in await world.fox("traces", "-o", "json", "--component", "review")


async def test_every_answer_has_a_trace_id_header(world: OrderAppPlatform) -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    url = world.browser.url("team-a", deployment="order-app-v1")

    found = []
    for target in (url, f"{url}&kf-sample=perhaps", url.replace("v1", "v9")):
        for headers in ({}, {"traceparent": header}):
            async with aiohttp.request("GET", target, headers=headers) as response:
                found.append((response.status, response.headers["kubefox-trace-id"]))

    assert [status for status, _ in found] == [200, 200, 400, 400, 404, 404]
    assert all(len(trace_id) == 32 for _, trace_id in found)
    assert [trace_id in header for _, trace_id in found] == [False, True, False, False, False, True]


async def test_log_lines_of_one_deployment_in_one_environment(world: OrderAppPlatform) -> None:
    environment = await world.new_environment()
    await world.release("v1", environment)
    page = await world.browser.place_order(environment, "Ada")
    await world.wait_status(page, "delivered")

    lines: list[dict[str, Any]] = []
    moved: list[dict[str, Any]] = []

    async def are_logged() -> bool:
        text = await world.fox(
            *("logs", "--component", "order-worker", "--deployment", "order-app-v1"),
            *("--virtual-env", environment, "--since", "10m", "-o", "json"),
        )
        lines[:] = [json.loads(line)["fields"] for line in text.splitlines()]
        moved[:] = [line for line in lines if line["message"] == "moved"]
        return len(moved) >= 3

    # A line is written after the order has its new status.
    await wait_for(are_logged, SOON_S)
    nothing = await world.fox("logs", "--deployment", "order-app-v3", "--virtual-env", environment)
    readable = await world.fox("logs", "--virtual-env", environment)

    assert [line["status"] for line in moved] == ["packed", "shipped", "delivered"]
    assert {(line["deployment"], line["virtual_environment"]) for line in lines} == {
        ("order-app-v1", environment)
    }
    assert all(len(line["trace"]) == 32 and line["event"] for line in moved)
    assert nothing == ""
    assert "info    moved" in readable


async def test_spans_metrics_and_logs_reach_an_otlp_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(build, tmp_path / "order-app")
    with collector() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
        platform = Platform(tmp_path / "data")
        async with platform, Browser(platform.http_url) as browser:
            own = OrderAppPlatform(
                platform=platform, browser=browser, repository=tmp_path / "order-app"
            )
            await own.fox("apply", "-f", ENVIRONMENTS)
            await own.deploy("v1")
            url = browser.url("team-a", deployment=DEPLOYMENTS[0])
            async with aiohttp.request("GET", f"{url}&kf-sample=1") as response:
                assert response.status == 200

            async def has_all() -> bool:
                names = {metric["name"] for metric in await asyncio.to_thread(receiver.metrics)}
                return "kubefox.request.duration" in names

            await wait_for(has_all, SOON_S)

        # The platform has ended, and has exported all its telemetry.
        spans, metrics, lines = receiver.spans(), receiver.metrics(), receiver.logs()
    services = {span["service"] for span in spans}
    assert services >= {"adapter/http", "order-ui", "api-server", "adapter/state-store"}
    assert len({span["traceId"] for span in spans if span["service"] == "api-server"}) >= 1
    assert {span["attributes"]["kubefox.deployment"] for span in spans} == {"order-app-v1"}
    assert {"order-ui", "api-server", "adapter/http"} <= {metric["service"] for metric in metrics}
    assert {"order-ui", "api-server", "order-worker", "kubefox"} <= {
        line["service"] for line in lines
    }
