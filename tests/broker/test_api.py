"""The control API over real HTTP: answers, failures, and who may call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from broker.api.operations import OPERATIONS
from broker.api.server import ControlApi, open_control_api
from broker.control.deployments import Deployments
from broker.control.secrets import MASK
from broker.telemetry.collector import Collector, open_collector
from model import bundle
from model.deployment import Deployment
from model.digest import RuntimeSpec
from model.environment import Environment, EnvironmentData
from model.release import ReleaseState
from pods.base import PodSpec
from pods.logs import PodLogs, open_logs
from tests.support.control_plane import Plane, code, component, deployment, open_plane, pods_of
from tests.support.nats import NatsServer

UI = component("order-ui", routes=["Path(`/{{.Vars.subPath}}/orders/{id}`)"], calls=["api-server"])
API = component("api-server")
POD = PodSpec(id="api-server-1", app="order-app", component="api-server", hash=API.hash)


class Client:
    """Calls one API; ``answer`` is of the last call."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> tuple[int, Any]:
        """Send a request, and return its status and JSON."""
        sent = dict(headers or {})
        if body is not None:
            raw = msgspec.json.encode(body)
            sent.setdefault("content-type", "application/json")
        async with self.session.request(method, self.url + path, data=raw, headers=sent) as answer:
            content = await answer.read()
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json"
            return answer.status, json.loads(content) if content else None

    async def deploy(self, name: str, version: str | None = None) -> tuple[int, Any]:
        """Deploy the two components under ``name``."""
        wanted = deployment(name, UI, API, version=version)
        body = {"deployment": wanted, "components": [UI, API]}
        return await self.call("PUT", f"/v1/deployments/{name}", body)


@pytest.fixture
async def plane(own_nats_server: NatsServer) -> AsyncIterator[Plane]:
    async with open_plane(own_nats_server.url) as plane:
        yield plane


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[PodLogs]:
    async with open_logs(tmp_path / "logs") as logs:
        yield logs


@pytest.fixture
async def collector(plane: Plane) -> AsyncIterator[Collector]:
    async with open_collector(plane.bus, plane.control.board) as collector:
        yield collector


@pytest.fixture
async def api(plane: Plane, logs: PodLogs, collector: Collector) -> AsyncIterator[ControlApi]:
    async with open_control_api(
        plane.control,
        logs,
        collector,
        host="127.0.0.1",
        port=0,
        version="1.2.3",
        readiness={"nats": lambda: plane.bus.is_ready},
    ) as api:
        yield api


@pytest.fixture
async def client(api: ControlApi) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, api.url)


async def upload(client: Client) -> None:
    for name, version in (("order-ui", UI), ("api-server", API)):
        content = bundle.pack(code(name, "v1"), RuntimeSpec())
        status, answer = await client.call("PUT", f"/v1/bundles/{version.hash}", raw=content)
        assert (status, answer) == (200, {"hash": version.hash})


async def test_the_story_of_a_release(client: Client, plane: Plane) -> None:
    await plane.environments("team-a")
    wanted = {"order-ui": UI.hash, "api-server": API.hash}

    plan = {"name": "order-app-v1", "app": "order-app", "components": wanted}
    status, planned = await client.call("POST", "/v1/plans", plan)
    assert (status, planned["missing_bundles"]) == (200, sorted(wanted.values()))

    await upload(client)
    status, deployed = await client.deploy("order-app-v1", "v1")
    assert status == 200
    assert deployed.keys() == {"revision", "object"}
    assert await client.call("GET", "/v1/deployments") == (200, [deployed])
    assert await client.call("GET", "/v1/deployments/order-app-v1") == (200, deployed)
    assert msgspec.convert(deployed["object"], Deployment).components == wanted

    status, pending = await client.call("POST", "/v1/releases/team-a", {"selector": "v1"})
    assert status == 200
    state = msgspec.convert(pending["object"], ReleaseState)
    assert state.pending is not None
    assert [each.type for each in state.pending.problems] == ["PodNotReady", "PodNotReady"]

    async with plane.control.activator:
        await plane.publish(*pods_of(UI, API))
        await plane.wait_data(
            lambda: plane.control.releases.get("team-a").object.active is not None
        )
    status, active = await client.call("GET", "/v1/releases/team-a")
    assert (status, active["object"]["pending"]) == (200, None)
    assert await client.call("GET", "/v1/releases") == (200, [active])

    status, _ = await client.call("DELETE", "/v1/deployments/order-app-v1")
    assert status == 409

    apps = {"order-app": {"deployment": "order-app-v1", "version": "v1"}}
    status, again = await client.call("POST", "/v1/releases/team-a", {"apps": apps})
    assert (status, again) == (200, active)

    status, pods = await client.call("GET", "/v1/pods")
    assert (status, sorted(each["component"] for each in pods)) == (200, ["api-server", "order-ui"])

    url = "/v1/explain?url=http://localhost/team-a/orders/7&header=Accept:%20text/html"
    status, explained = await client.call("GET", url)
    assert (status, explained["winner"]["component"]) == (200, "order-ui")
    assert explained["winner"]["params"] == {"id": "7"}


async def test_a_rollback_over_the_api(client: Client, plane: Plane) -> None:
    await plane.environments("team-a")
    await upload(client)
    await plane.publish(*pods_of(UI, API))
    for version in ("v1", "v2"):
        await client.deploy(f"order-app-{version}", version)
        await client.call("POST", "/v1/releases/team-a", {"selector": version})

    status, answer = await client.call("POST", "/v1/releases/team-a/rollback")

    assert status == 200
    assert answer["object"]["active"]["apps"]["order-app"]["deployment"] == "order-app-v1"


async def test_an_undeployment_answers_without_content(client: Client) -> None:
    await upload(client)
    await client.deploy("main")

    assert await client.call("DELETE", "/v1/deployments/main") == (204, None)
    assert (await client.call("GET", "/v1/deployments/main"))[0] == 404


@pytest.mark.parametrize(
    ("path", "record"),
    [
        ("/v1/environments/dev", {"name": "dev", "data": {"vars": {"a": [1, "b"]}}}),
        ("/v1/virtual-environments/team-b", {"name": "team-b", "environment": "dev"}),
        ("/v1/http-adapters/mail", {"name": "mail", "url": "https://mail.example"}),
    ],
)
async def test_every_kind_is_written_read_listed_and_deleted(
    client: Client, plane: Plane, path: str, record: dict[str, Any]
) -> None:
    if "virtual" in path:
        await plane.environments()

    status, stored = await client.call("PUT", path, record)
    assert status == 200
    assert record.items() <= {**stored["object"], "data": record.get("data")}.items()
    assert await client.call("GET", path) == (200, stored)
    assert await client.call("GET", path.rpartition("/")[0]) == (200, [stored])

    match = {"if-match": f'"{stored["revision"]}"'}
    assert await client.call("DELETE", path, headers=match) == (204, None)
    assert (await client.call("DELETE", path))[0] == 404


async def test_if_match_keeps_writers_apart(client: Client) -> None:
    record = {"name": "dev"}
    _, stored = await client.call("PUT", "/v1/environments/dev", record, headers={"if-match": "0"})

    status, answer = await client.call(
        "PUT", "/v1/environments/dev", record, headers={"if-match": "0"}
    )
    assert (status, answer["code"]) == (409, "revision_conflict")
    for seen in (str(stored["revision"]), "*"):
        status, _ = await client.call(
            "PUT", "/v1/environments/dev", record, headers={"if-match": seen}
        )
        assert status == 200
    status, _ = await client.call(
        "PUT", "/v1/environments/dev", record, headers={"if-match": "new"}
    )
    assert status == 400


async def test_secrets_are_masked_and_the_etag_is_the_revision(
    client: Client, plane: Plane
) -> None:
    data = EnvironmentData(secrets={"token": "s3cret"})
    await plane.control.environments.put(Environment(name="dev", data=data))

    async with client.session.get(f"{client.url}/v1/environments/dev") as answer:
        stored = await answer.json()

    assert stored["object"]["data"]["secrets"] == {"token": MASK}
    assert answer.headers["etag"] == f'"{stored["revision"]}"'


async def test_a_virtual_environment_with_a_release_is_deleted_by_force(
    client: Client, plane: Plane
) -> None:
    await plane.environments("team-a")
    await upload(client)
    await client.deploy("order-app-v1", "v1")
    await client.call("POST", "/v1/releases/team-a", {"selector": "v1"})

    status, answer = await client.call("DELETE", "/v1/virtual-environments/team-a")
    assert (status, answer["code"]) == (409, "immutable")
    status, _ = await client.call("DELETE", "/v1/virtual-environments/team-a?force=true")
    assert status == 204


async def test_problems_are_listed(client: Client) -> None:
    status, answer = await client.deploy("main")

    assert (status, answer["code"], answer["title"]) == (
        422,
        "problems_found",
        "Unprocessable Entity",
    )
    assert {each["type"] for each in answer["problems"]} == {"BundleNotFound"}
    assert all(each.keys() == {"type", "message", "path"} for each in answer["problems"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v2/everything", None, 404),
        ("GET", "/v1/deployments/nothing", None, 404),
        ("GET", "/v1/releases/nothing", None, 404),
        ("PATCH", "/v1/deployments", None, 405),
        ("PUT", "/v1/deployments/a", {"deployment": {"name": "a"}}, 400),
        ("PUT", "/v1/deployments/a", {"deployment": deployment("b", API)}, 400),
        ("PUT", "/v1/environments/a", {"name": "b"}, 400),
        ("PUT", "/v1/environments/a", {"name": "a", "data": {"vars": {"x": None}}}, 400),
        ("POST", "/v1/plans", {"name": "a", "app": "b", "compnents": {}}, 400),
        ("POST", "/v1/plans", {"name": "a", "app": "b", "components": {"c": "d"}}, 400),
        ("POST", "/v1/releases/a", {}, 400),
        ("POST", "/v1/releases/a", {"selector": "v1", "apps": {"a": {"deployment": "b"}}}, 400),
        ("GET", "/v1/logs?tail=-1", None, 400),
        ("GET", "/v1/logs?tail=many", None, 400),
        ("GET", "/v1/logs?tail=1&tail=2", None, 400),
        ("GET", "/v1/logs?lines=1", None, 400),
        ("GET", "/v1/explain", None, 400),
        ("GET", "/v1/explain?url=example.com/x", None, 400),
        ("GET", "/v1/explain?url=http://[::1/x", None, 400),
        ("GET", "/v1/explain?url=/x&header=nonsense", None, 400),
        ("GET", "/v1/explain?url=/x%3Fkf-dep=a%26kf-dep=b", None, 400),
    ],
)
async def test_what_cannot_be_done_is_told_as_problem_details(
    client: Client, method: str, path: str, body: object, status: int
) -> None:
    actual, answer = await client.call(method, path, body)

    assert (actual, answer["status"]) == (status, status)
    assert answer["code"]
    assert answer["detail"]


@pytest.mark.parametrize(
    "garbage",
    [b"{", b"\xff\xfe", b"[]", b"null", b'{"name": "\\ud800"}', b'{"data":' * 100_000],
    ids=["cut", "no-utf-8", "list", "null", "surrogate", "endless"],
)
async def test_garbage_is_no_body(client: Client, garbage: bytes) -> None:
    headers = {"content-type": "application/json"}

    status, answer = await client.call("PUT", "/v1/environments/dev", raw=garbage, headers=headers)

    assert (status, answer["code"]) == (400, "invalid_request")


async def test_a_body_of_another_type_is_refused(client: Client) -> None:
    status, answer = await client.call(
        "POST", "/v1/plans", raw=b"{}", headers={"content-type": "text/plain"}
    )

    assert (status, answer["code"]) == (400, "unsupported_content_type")


async def test_a_bundle_that_is_another_or_none_is_refused(client: Client) -> None:
    content = bundle.pack(code("order-ui", "v1"), RuntimeSpec())

    status, answer = await client.call("PUT", f"/v1/bundles/{API.hash}", raw=content)
    assert (status, answer["problems"][0]["type"]) == (422, "HashMismatch")
    status, answer = await client.call("PUT", f"/v1/bundles/{API.hash}", raw=b"garbage")
    assert (status, answer["code"]) == (400, "invalid_bundle")
    status, _ = await client.call("PUT", "/v1/bundles/latest", raw=content)
    assert status == 400


async def test_a_body_over_the_limit_is_refused_announced_or_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.api.reading.MAX_JSON_BYTES", 1000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    status, answer = await client.call("POST", "/v1/plans", {"name": "a" * 2000})
    assert (status, answer["code"]) == (413, "body_too_large")
    async with client.session.post(f"{client.url}/v1/plans", data=chunks()) as chunked:
        assert chunked.status == 413


async def test_a_failure_of_the_platform_is_not_told_to_the_client(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_deployments: Deployments) -> None:
        raise KeyError("inner secret")

    monkeypatch.setattr(Deployments, "all", fail)
    status, answer = await client.call("GET", "/v1/deployments")

    assert (status, answer["code"]) == (500, "internal_error")
    assert "inner secret" not in str(answer)
    assert "inner secret" in caplog.text


async def test_health_and_version(client: Client) -> None:
    assert await client.call("GET", "/healthz") == (200, {"status": "ok", "parts": {}})
    assert await client.call("GET", "/readyz") == (200, {"status": "ok", "parts": {"nats": True}})
    assert await client.call("GET", "/v1/version") == (200, {"version": "1.2.3"})


async def test_without_nats_it_is_alive_but_not_ready(
    client: Client, plane: Plane, own_nats_server: NatsServer
) -> None:
    await asyncio.to_thread(own_nats_server.kill)
    await plane.wait_disconnected()

    assert (await client.call("GET", "/healthz"))[0] == 200
    async with client.session.get(f"{client.url}/readyz") as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert "nats" in (await answer.json(content_type=None))["detail"]
    status, answer_to_write = await client.call("PUT", "/v1/environments/dev", {"name": "dev"})
    assert (status, answer_to_write["code"]) == (503, "nats_unavailable")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "evil.example:8081", "origin": "http://evil.example:8081"},
        {"host": "["},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
async def test_a_page_of_elsewhere_may_not_call(client: Client, headers: dict[str, str]) -> None:
    status, answer = await client.call(
        "PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers
    )

    assert (status, answer["code"]) == (403, "not_authorized")
    assert await client.call("GET", "/v1/environments") == (200, [])


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"])
async def test_a_page_of_its_own_may_call(client: Client, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}

    status, _ = await client.call("PUT", "/v1/environments/dev", {"name": "dev"}, headers=headers)

    assert status == 200


async def test_a_name_that_is_allowed_may_be_called(
    plane: Plane, logs: PodLogs, collector: Collector
) -> None:
    async with (
        open_control_api(
            plane.control,
            logs,
            collector,
            host="localhost",
            port=0,
            version="1",
            readiness={},
            allowed_hosts=["Fox.Example"],
        ) as api,
        aiohttp.ClientSession() as session,
    ):
        client = Client(session, f"http://127.0.0.1:{api.port}")
        assert (await client.call("GET", "/healthz", headers={"host": "fox.example"}))[0] == 200
        assert (await client.call("GET", "/healthz", headers={"host": "ox.example"}))[0] == 403


async def test_logs_are_read(client: Client, logs: PodLogs) -> None:
    logs.write(POD, ["one", "two", "three"])

    async with client.session.get(f"{client.url}/v1/logs?tail=2&component=api-server") as answer:
        lines = [json.loads(line) async for line in answer.content]

    assert answer.content_type == "application/x-ndjson"
    assert [(each["pod"], each["line"]) for each in lines] == [
        ("api-server-1", "two"),
        ("api-server-1", "three"),
    ]


async def test_logs_are_followed_until_the_reader_leaves(client: Client, logs: PodLogs) -> None:
    logs.write(POD, ["one"])

    async with client.session.get(f"{client.url}/v1/logs?follow=true") as answer:
        assert json.loads(await answer.content.readline())["line"] == "one"
        logs.write(POD, ["two"])
        assert json.loads(await answer.content.readline())["line"] == "two"
        assert len(logs._readers) == 1
        answer.close()
        while logs._readers:
            await asyncio.sleep(0)


async def test_a_stream_that_breaks_off_is_logged(
    client: Client,
    logs: PodLogs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    logs.write(POD, ["one"])
    monkeypatch.setattr("broker.api.application._encode", lambda _line: 1 / 0)

    async with client.session.get(f"{client.url}/v1/logs") as answer:
        assert await answer.read() == b""

    assert "a stream broke off" in caplog.text


async def test_a_shutdown_ends_streams_and_finishes_writes(
    plane: Plane, logs: PodLogs, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(plane.control.environments).put
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(*args: Any) -> Any:
        has_begun.set()
        await may_end.wait()
        return await put(*args)

    monkeypatch.setattr(type(plane.control.environments), "put", put_slowly)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        async with open_control_api(
            plane.control, logs, collector, host="127.0.0.1", port=0, version="1", readiness={}
        ) as api:
            client = Client(session, api.url)
            stream = await session.get(f"{api.url}/v1/logs?follow=true")
            write = group.create_task(client.call("PUT", "/v1/environments/dev", {"name": "dev"}))
            await has_begun.wait()
            asyncio.get_running_loop().call_soon(may_end.set)

        assert await stream.read() == b""
        assert (await write)[0] == 200
    assert "dev" in plane.store.snapshot.environments


async def test_a_client_that_leaves_does_not_stop_its_write(
    client: Client, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(plane.control.environments).put
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def put_slowly(*args: Any) -> Any:
        has_begun.set()
        await may_end.wait()
        return await put(*args)

    monkeypatch.setattr(type(plane.control.environments), "put", put_slowly)
    request = asyncio.create_task(client.call("PUT", "/v1/environments/dev", {"name": "dev"}))
    await has_begun.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    may_end.set()

    await plane.wait_data(lambda: "dev" in plane.store.snapshot.environments)


async def test_the_description_names_every_operation(client: Client) -> None:
    status, described = await client.call("GET", "/openapi.json")

    assert (status, described["openapi"], described["info"]["version"]) == (200, "3.1.0", "1.2.3")
    assert {
        (path, method) for path, methods in described["paths"].items() for method in methods
    } == {(each.path, each.method.lower()) for each in OPERATIONS}
    schemas = described["components"]["schemas"]
    assert {"Deployment", "ReleaseState", "ProblemDetails", "Plan"} <= schemas.keys()
    assert _references(described) <= {f"#/components/schemas/{name}" for name in schemas}
    get_logs = described["paths"]["/v1/logs"]["get"]
    assert {each["name"] for each in get_logs["parameters"]} == {
        "component",
        "pod",
        "deployment",
        "virtual_environment",
        "since_s",
        "tail",
        "follow",
    }


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*map(_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(_references, node))
    return set()


async def test_a_port_in_use_is_an_error(
    plane: Plane, api: ControlApi, logs: PodLogs, collector: Collector
) -> None:
    with pytest.raises(OSError, match="in use"):
        async with open_control_api(
            plane.control,
            logs,
            collector,
            host="127.0.0.1",
            port=api.port,
            version="1",
            readiness={},
        ):
            pass
