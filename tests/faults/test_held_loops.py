"""No input holds the loop of an adapter, of control or of a pod.

The watchdog counts calls of functions between two turns of the loop, while real requests bring the
most expensive inputs that are accepted: to an HTTP adapter and a pod, and to the control API. All
parts run in the loop of the test, as in ``fox up``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from adapters.http.server import HttpAdapter
from broker.events.dead_letters import open_dead_letters
from broker.storage.token_store import open_token_store
from broker.telemetry.collector import open_collector
from broker.telemetry.figures import EventLabels, EventRole, ProcessFigures
from broker.telemetry.metrics import MAX_SERIES, Metrics, count_duration, count_queue_time
from control.api.server import open_control_api
from fox import Context, Kit, Response
from kubefox import subjects
from kubefox.environment import PolicyType
from kubefox.formats import MAX_COMPONENTS
from kubefox.senders import PLATFORM
from pods.logs import open_logs
from routing.validate import MAX_ROUTES
from tests.adapters.http.raw import ask
from tests.control.api.client import Client
from tests.support.bounded_work import MAX_CALLS
from tests.support.control_plane import Plane, component, deployment
from tests.support.data_plane import SETTINGS
from tests.support.loop_watchdog import watch_loop
from tests.support.nats import NatsServer
from tests.support.owner import CREDENTIALS, open_access
from tests.support.world import SOON_S, open_world

VALUES: list[str | float] = [f"t{number}.example.com" for number in range(1_000)]
TEXTS: list[str | float] = [f"s{number}" for number in range(150)]
RULES_OVER_LISTS = (
    "Host(`{{.Vars.t}}`) && Path(`/o#`)",
    "Header(`x`, `{{.Vars.t}}`) && Path(`/o#`)",
    "Query(`q`, `{#{{.Vars.s}}}`) && Path(`/o#`)",
    "Method(`{{.Vars.t}}`) && Path(`/o#`)",
    "PathPrefix(`/`) && Header(`x`, `{.*a[ab]{100}#}`)",
)
LONG = "ab" * 25_000
REQUESTS = {
    "a long header": f"GET /a HTTP/1.1\r\nhost: h\r\nx: {LONG}\r\n\r\n",
    "the most headers": "GET /a HTTP/1.1\r\n" + "host: h\r\n" + "x: a\r\n" * 250 + "\r\n",
    "the most parameters": f"GET /?{'%61=%62&' * 1_000} HTTP/1.1\r\nhost: h\r\n\r\n",
    "the most segments": f"GET {'/%61' * 499} HTTP/1.1\r\nhost: h\r\n\r\n",
    "the most cookies": f"GET / HTTP/1.1\r\nhost: h\r\ncookie: kf-ve=b;{'a=b;' * 990}\r\n\r\n",
    "an explanation": f"GET /o7 HTTP/1.1\r\nhost: h\r\nkubefox-explain: 1\r\nx: {LONG}\r\n\r\n",
    "an explicit URL": "GET /o7?kf-dep=v1&kf-ve=a HTTP/1.1\r\nhost: t7.example.com\r\n\r\n",
    "a large body": (
        "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 4000000\r\n\r\n" + "x" * 4_000_000
    ),
}


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
async def test_no_request_holds_the_loop_of_an_adapter_or_a_pod(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    kit = Kit()

    async def echo(ctx: Context) -> Response:
        return Response(str(len(ctx.body)))

    for at in range(MAX_ROUTES - 1):
        kit.route(rule.replace("#", str(at)))(echo)
    kit.route("Path(`/echo`)")(echo)
    async with open_world(
        own_nats_server.url,
        environments={"a": {"t": VALUES, "s": TEXTS}, "b": {"t": "x"}},
    ) as world:
        adapter = await world.enter_adapter(HttpAdapter(world.broker, SETTINGS))
        await world.serve("v1", {"web": kit}, released_in="a")
        answers = {}

        with watch_loop(monkeypatch) as watchdog:
            for name, request in REQUESTS.items():
                answers[name] = await ask(adapter.port, request.encode())

    assert watchdog.most_calls < MAX_CALLS, watchdog.longest
    assert answers["a large body"].status == 200, answers["a large body"].body
    assert {one.status for one in answers.values()} <= {200, 400, 404, 405, 431}, answers


@pytest.fixture
async def client(plane: Plane, tmp_path: Path) -> AsyncIterator[Client]:
    dead_letters = await open_dead_letters(plane.bus)
    opened = functools.partial(open_control_api, host="127.0.0.1", port=0, version="1")
    async with (
        open_logs(tmp_path) as logs,
        open_collector(plane.bus, plane.control.board) as collector,
        open_token_store(plane.bus) as tokens,
        opened(
            plane.control,
            logs,
            collector,
            dead_letters,
            tokens,
            access=open_access(tokens, tmp_path),
            readiness={},
        ) as api,
        aiohttp.ClientSession(headers=CREDENTIALS) as session,
    ):
        yield Client(session, api.url)


def plan_of(count: int) -> dict[str, object]:
    components = {f"c{number}": f"{number:032x}" for number in range(count)}
    return {"name": "v1", "app": "order-app", "components": components}


async def test_no_plan_holds_the_loop_of_control(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest, too_large = plan_of(MAX_COMPONENTS), plan_of(20_000)

    with watch_loop(monkeypatch) as watchdog:
        accepted, _ = await client.call("POST", "/v1/plans", largest)
        refused, _ = await client.call("POST", "/v1/plans", too_large)

    assert (accepted, refused) == (200, 422)
    assert watchdog.most_calls < MAX_CALLS, watchdog.longest


async def test_no_environment_holds_the_loop_of_control(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {f"name-{number}": number for number in range(20_000)}
    environment = {"name": "dev", "data": {"vars": values}}

    with watch_loop(monkeypatch) as watchdog:
        stored, _ = await client.call("PUT", "/v1/environments/dev", environment)
        read, _ = await client.call("GET", "/v1/environments/dev")

    assert (stored, read) == (200, 200)
    assert watchdog.most_calls < MAX_CALLS, watchdog.longest


@pytest.mark.parametrize("rule", RULES_OVER_LISTS)
async def test_no_deployment_release_or_explanation_holds_the_loop_of_control(
    client: Client, plane: Plane, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    web = component("web", routes=[rule.replace("#", str(at)) for at in range(MAX_ROUTES)])
    values = {"t": VALUES, "s": TEXTS}
    policy = {"type": PolicyType.TESTING}
    await plane.upload("web")
    body = {"deployment": deployment("v1", web), "components": [web]}
    calls = (
        ("PUT", "/v1/environments/dev", {"name": "dev", "release_policy": policy}),
        (
            "PUT",
            "/v1/virtual-environments/a",
            {"name": "a", "environment": "dev", "data": {"vars": values}},
        ),
        ("PUT", "/v1/deployments/v1", body),
        ("POST", "/v1/releases/a", {"selector": "v1"}),
        ("GET", "/v1/explain?url=/o7%3Fkf-dep=v1%26kf-ve=a&header=x:%20t1.example.com", None),
        ("GET", "/v1/explain?url=/o7", None),
        ("GET", "/v1/deployments", None),
    )

    with watch_loop(monkeypatch) as watchdog:
        answers = [await client.call(method, path, body) for method, path, body in calls]

    failed = [answer for answer in answers if answer[0] >= 300]
    assert failed == []
    assert watchdog.most_calls < MAX_CALLS, watchdog.longest


async def test_no_figures_hold_the_loop_of_control(
    client: Client, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [msgspec.msgpack.encode(worst_figures(f"p{number}")) for number in range(4)]
    for answer in answers[:3]:
        await plane.bus.publish(subjects.figures_of(PLATFORM), answer)

    with watch_loop(monkeypatch) as watchdog:
        await plane.bus.publish(subjects.figures_of(PLATFORM), answers[3])
        async with asyncio.timeout(SOON_S):
            while len((await client.call("GET", "/v1/stats"))[1]["deployments"]) < 2 * MAX_SERIES:
                pass
        windowed, _ = await client.call("GET", "/v1/stats?window_s=0.01")

    assert windowed == 200
    assert watchdog.most_calls < MAX_CALLS, watchdog.longest


def worst_figures(process: str) -> ProcessFigures:
    """Return the last figures of a process with as many series as it has at most."""
    metrics = Metrics()
    for number in range(MAX_SERIES):
        role = (EventRole.GENESIS, EventRole.COMPONENT)[number % 2]
        labels = EventLabels("api", "a" * 32, "shop", f"{process}-{number}", "live", role)
        counters = metrics.series(labels).counters
        for status in (200, 301, 404, 503):
            count_duration(counters, status, 10**6)
            count_queue_time(counters, 10**6)
    return metrics.figures(process, "api", is_final=True)
