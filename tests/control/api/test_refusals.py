"""Errors of the control API, as problem details."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from control.api.request_decoding import MAX_JSON_VALUES
from control.deployments import Deployments
from kubefox import bundle
from kubefox.digest import RuntimeSpec
from tests.control.api.client import API, Client, OpenApi
from tests.support.control_plane import code, deployment
from tests.support.owner import CREDENTIALS


async def test_an_answer_lists_all_problems(client: Client) -> None:
    status, answer = await client.deploy("main")

    assert (status, answer["code"], answer["title"]) == (
        422,
        "problems_found",
        "Unprocessable Entity",
    )
    assert {problem["type"] for problem in answer["problems"]} == {"BundleNotFound"}
    assert all(problem.keys() == {"type", "message", "path"} for problem in answer["problems"])


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
async def test_an_error_is_answered_with_problem_details(
    client: Client, method: str, path: str, body: object, status: int
) -> None:
    actual, answer = await client.call(method, path, body)

    assert (actual, answer["status"]) == (status, status)
    assert answer["code"]
    assert answer["detail"]


@pytest.mark.parametrize(
    "garbage",
    [b"{", b"\xff\xfe", b"[]", b"null", b'{"name": "\\ud800"}', b'{"data":' * 20_000],
    ids=["cut", "no-utf-8", "list", "null", "surrogate", "endless"],
)
async def test_an_unreadable_body_is_refused(client: Client, garbage: bytes) -> None:
    headers = {"content-type": "application/json"}

    status, answer = await client.call("PUT", "/v1/environments/dev", raw=garbage, headers=headers)

    assert (status, answer["code"]) == (400, "invalid_request")


DEV = "/v1/environments/dev"
API_WITH = msgspec.to_builtins(API)
DEPLOYMENT_WITH = msgspec.to_builtins(deployment("a", API))


@pytest.mark.parametrize(
    ("method", "url", "known"),
    [
        ("GET", f"{DEV}?foo=1", "no query parameter"),
        ("PUT", f"{DEV}?foo=1", "force"),
    ],
)
async def test_an_unknown_query_parameter_is_refused_with_those_that_exist(
    client: Client, method: str, url: str, known: str
) -> None:
    status, answer = await client.call(method, url)

    assert (status, answer["code"]) == (400, "invalid_request")
    assert answer["detail"] == f"query parameter foo is unknown: expected {known}"


@pytest.mark.parametrize(
    ("method", "path", "body", "unknown"),
    [
        ("PUT", DEV, {"name": "dev", "dta": {"vars": {"a": 1}}}, "dta"),
        ("PUT", DEV, {"name": "dev", "releasePolicy": {"type": "Testing"}}, "releasePolicy"),
        ("PUT", DEV, {"name": "dev", "data": {"var": {"a": 1}}}, "data.var"),
        ("PUT", DEV, {"name": "dev", "release_policy": {"tpye": "Testing"}}, "release_policy.tpye"),
        (
            "PUT",
            "/v1/virtual-environments/me",
            {"name": "me", "environment": "dev", "release": {}},
            "release",
        ),
        ("PUT", "/v1/http-adapters/a", {"name": "a", "url": "http://a", "header": {}}, "header"),
        (
            "PUT",
            "/v1/deployments/a",
            {"deployment": {**DEPLOYMENT_WITH, "source": {"comit": "f"}}},
            "deployment.source.comit",
        ),
        (
            "PUT",
            "/v1/deployments/a",
            {"deployment": DEPLOYMENT_WITH, "components": [API_WITH, {**API_WITH, "code": ""}]},
            "components[1].code",
        ),
        ("POST", "/v1/plans", {"name": "a", "app": "b", "compnents": {}}, "compnents"),
        (
            "POST",
            "/v1/releases/me",
            {"apps": {"shop": {"deployment": "a", "appDeployment": "a"}}},
            "apps.shop.appDeployment",
        ),
    ],
)
async def test_an_unknown_field_is_refused_and_named(
    client: Client, method: str, path: str, body: object, unknown: str
) -> None:
    await client.call("PUT", DEV, {"name": "dev", "data": {"vars": {"kept": True}}})
    before = await client.call("GET", DEV)

    status, answer = await client.call(method, path, body)

    assert (status, answer["code"]) == (400, "invalid_request")
    assert answer["detail"] == f"the body has an unknown field: {unknown}"
    assert await client.call("GET", DEV) == before


async def test_a_body_with_another_content_type_is_refused(client: Client) -> None:
    status, answer = await client.call(
        "POST", "/v1/plans", raw=b"{}", headers={"content-type": "text/plain"}
    )

    assert (status, answer["code"]) == (400, "unsupported_content_type")


async def test_a_bundle_with_another_hash_or_of_garbage_is_refused(client: Client) -> None:
    content = bundle.pack(code("order-ui", "v1"), RuntimeSpec())

    status, answer = await client.call("PUT", f"/v1/bundles/{API.hash}", raw=content)
    assert (status, answer["problems"][0]["type"]) == (422, "HashMismatch")
    status, answer = await client.call("PUT", f"/v1/bundles/{API.hash}", raw=b"garbage")
    assert (status, answer["code"]) == (400, "invalid_bundle")
    status, _ = await client.call("PUT", "/v1/bundles/latest", raw=content)
    assert status == 400


async def test_a_body_over_the_limit_is_refused_with_and_without_a_content_length(
    open_api: OpenApi,
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100

    async with (
        open_api(host="127.0.0.1", port=0, version="1", readiness={}, max_json_bytes=1000) as api,
        aiohttp.ClientSession(headers=CREDENTIALS) as session,
    ):
        client = Client(session, api.url)
        status, answer = await client.call("POST", "/v1/plans", {"name": "a" * 2000})
        assert (status, answer["code"]) == (413, "body_too_large")
        async with session.post(f"{api.url}/v1/plans", data=chunks()) as chunked:
            assert chunked.status == 413


async def test_a_body_of_too_many_values_is_refused_before_it_is_decoded(client: Client) -> None:
    components = {str(number): "" for number in range(MAX_JSON_VALUES)}
    plan = {"name": "v1", "app": "order-app", "components": components}

    status, answer = await client.call("POST", "/v1/plans", plan)

    assert (status, answer["code"]) == (413, "body_too_large")
    assert f"{MAX_JSON_VALUES:,} JSON values" in answer["detail"]


async def test_an_internal_error_is_logged_and_not_sent_to_the_client(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_deployments: Deployments, _name: str) -> None:
        raise KeyError("inner secret")

    monkeypatch.setattr(Deployments, "get", fail)
    status, answer = await client.call("GET", "/v1/deployments/v1")

    assert (status, answer["code"]) == (500, "internal_error")
    assert "inner secret" not in str(answer)
    assert "inner secret" in caplog.text
