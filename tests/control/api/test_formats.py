"""Names outside their format are refused at the edge, with a message that names the expectation."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from control.api.openapi import document
from control.api.operations.all import OPERATIONS
from control.api.path_parameters import names_in
from tests.control.api.client import API, Client

ODD = ["a b", "*", ">", "a.b", "ä", "\x1b", "A", "-a", "a" * 300, "../etc", "a\nb", "%00"]
WITH_PARAMETER = [
    (operation.method, operation.path) for operation in OPERATIONS if names_in(operation.path)
]


@pytest.mark.parametrize(("method", "path"), WITH_PARAMETER)
async def test_an_odd_name_in_a_path_is_a_bad_request(
    client: Client, method: str, path: str
) -> None:
    parameter = names_in(path)[0]
    # An id of a trace or an event may have capital letters, and a dash anywhere.
    names = [name for name in ODD if parameter != "trace" or name not in {"A", "-a"}]

    for name in names:
        odd = path.replace(f"{{{parameter}}}", quote(name, safe=""))
        status, problem = await client.call(method, odd)
        assert (status, problem["code"]) == (400, "invalid_request"), name
        assert "is not valid: use" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("GET", "/v1/deployments?app=a.*", None, "the query is invalid: app"),
        ("GET", "/v1/dead-letters?component=%3E", None, "the query is invalid: component"),
        ("GET", "/v1/pods?hash=abc", None, "the query is invalid: hash"),
        ("GET", "/v1/logs?pod=a%20b", None, "the query is invalid: pod"),
        ("GET", "/v1/logs?since_s=nan", None, "the query is invalid: since_s"),
        ("GET", "/v1/traces?component=A", None, "the query is invalid: component"),
        ("POST", "/v1/scales", {"component": "a.b"}, "the body is invalid: component"),
        ("POST", "/v1/releases/me", {"selector": "a\x1b"}, "the body is invalid: selector"),
        (
            "POST",
            "/v1/releases/me",
            {"apps": {"shop": {"deployment": "a.>"}}},
            "the body is invalid: apps.shop.deployment",
        ),
        ("POST", "/v1/releases/me", {"apps": {"a.b": {"deployment": "a"}}}, "apps"),
        ("POST", "/v1/deployments/main/undo", {"generation": 0}, "the body is invalid: generation"),
        (
            "POST",
            "/v1/plans",
            {
                "name": "a",
                "app": "b",
                "definitions": {"c": {"name": "c", "dependencies": [{"name": "a.*"}]}},
            },
            "the body is invalid: definitions.c.dependencies[0].name",
        ),
        (
            "PUT",
            "/v1/http-adapters/crm",
            {"name": "crm", "url": "http://a", "headers": {"a: b\r\nc": "d"}},
            "the body is invalid: headers",
        ),
    ],
)
async def test_a_text_of_another_format_is_refused_where_it_stands(
    client: Client, method: str, path: str, body: object, where: str
) -> None:
    status, problem = await client.call(method, path, body)

    assert (status, problem["code"]) == (400, "invalid_request")
    assert where in problem["detail"]


@pytest.mark.parametrize("apps", [1_001, 5_000])
async def test_a_mapping_over_its_limit_is_refused(client: Client, apps: int) -> None:
    body = {"apps": {f"app-{number}": {"deployment": "a"} for number in range(apps)}}

    status, problem = await client.call("POST", "/v1/releases/me", body)

    assert status == 400
    assert f"apps: {apps:,} entries are too many: expected 1,000 at most" in problem["detail"]


async def test_an_integer_of_more_than_64_bits_is_refused(client: Client) -> None:
    body = {"name": "dev", "data": {"vars": {"large": 1 << 64}}}

    status, problem = await client.call("PUT", "/v1/environments/dev", body)

    assert (status, problem["code"]) == (400, "invalid_request")


async def test_a_limit_may_be_null_as_its_schema_says(client: Client) -> None:
    assert (await client.deploy("main"))[0] == 422
    body = {"component": API.name, "scale": {"min": None, "max": 2, "target_in_flight": None}}

    status, problem = await client.call("POST", "/v1/scales", body)

    # The component is not deployed; the fields are known.
    assert status == 404, problem


def test_every_list_and_mapping_in_a_body_has_a_limit_in_its_schema() -> None:
    described = document(OPERATIONS, "1")
    schemas: dict[str, Any] = described["components"]["schemas"]

    unlimited = sorted(
        {
            f"{name}.{field}"
            for name in _in_bodies(described)
            for field, kind in schemas[name].get("properties", {}).items()
            for each in (kind, *kind.get("anyOf", ()))
            if _is_unlimited(each)
        }
    )

    assert unlimited == []


def _is_unlimited(kind: dict[str, Any]) -> bool:
    if kind.get("type") == "array":
        return "maxItems" not in kind
    return kind.get("type") == "object" and "maxProperties" not in kind


def _in_bodies(described: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = [
        operation["requestBody"]
        for methods in described["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(described["components"]["schemas"][name])
            node = list(node.values())
        if isinstance(node, list):
            waiting += node
    return found


# Texts for people, and those whose language no pattern describes; each is checked by its operation.
FREE_TEXTS = {
    "ComponentDefinition.description",
    "ComponentDefinition.title",
    "Route.rule",
    "RuntimeSpec.entry",
    "RuntimeSpec.kind",
    "Schedule.cron",
    "Variable.default",
    "Variable.description",
    "Variable.name",
}
FREE_PARAMETERS = {"header", "method", "sort", "url"}


def test_every_text_in_a_body_has_a_format_unless_it_is_free_text() -> None:
    described = document(OPERATIONS, "1")
    schemas: dict[str, Any] = described["components"]["schemas"]

    without = {
        f"{name}.{field}"
        for name in _in_bodies(described)
        for field, kind in schemas[name].get("properties", {}).items()
        for each in (kind, *kind.get("anyOf", ()))
        if each.get("type") == "string" and "pattern" not in each
    }

    assert without == FREE_TEXTS


def test_every_text_in_a_path_or_query_has_a_format_unless_it_is_free_text() -> None:
    parameters = [
        parameter
        for methods in document(OPERATIONS, "1")["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
    ]

    without = {
        parameter["name"]
        for parameter in parameters
        for schema in (parameter["schema"], parameter["schema"].get("items", {}))
        if schema.get("type") == "string" and "pattern" not in schema
    }

    assert without == FREE_PARAMETERS
