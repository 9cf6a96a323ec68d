"""Each operation needs its role, for all that it touches."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from control.api.operation import Operation
from control.api.operations.all import OPERATIONS
from control.api.rights import RIGHTS, right_of
from control.api.server import ControlApi
from kubefox.grants import Role
from tests.control.api.client import API, Client, upload
from tests.support.control_plane import Plane, pods_of

As = Callable[..., Awaitable[Client]]
"""Returns a client whose new token has these roles, as texts of ``fox token create --role``."""


@pytest.fixture
async def as_roles(client: Client, api: ControlApi) -> AsyncIterator[As]:
    sessions: list[aiohttp.ClientSession] = []

    async def open_client(*grants: dict[str, Any]) -> Client:
        body = {"name": f"token-{len(sessions)}", "grants": grants}
        status, created = await client.call("POST", "/v1/tokens", body)
        assert status == 200, created
        headers = {"authorization": f"Bearer {created['token']}"}
        sessions.append(aiohttp.ClientSession(headers=headers))
        return Client(sessions[-1], api.url)

    yield open_client
    for session in sessions:
        await session.close()


def grant(role: str, app: str = "*", virtual_environment: str = "*") -> dict[str, Any]:
    return {"role": role, "apps": [app], "virtual_environments": [virtual_environment]}


def filled(operation: Operation) -> str:
    values = {"name": "a", "hash": API.hash, "pod": "a", "id": "1", "trace": "abcd"}
    return operation.path.format(**values)


def test_each_operation_has_one_right_and_no_right_is_left_over() -> None:
    assert {operation.key for operation in OPERATIONS} == RIGHTS.keys()


async def test_no_operation_but_health_is_done_without_a_token(api: ControlApi) -> None:
    async with aiohttp.ClientSession() as session:
        for operation in OPERATIONS:
            url = api.url + filled(operation)
            async with session.request(operation.method, url, json={}) as answer:
                refused = {401, 429} if right_of(operation).role else {200}

                assert answer.status in refused, operation.key
                assert answer.status != 401 or answer.headers["www-authenticate"]


@pytest.mark.parametrize("role", Role)
async def test_an_operation_is_refused_to_roles_without_its_right(as_roles: As, role: Role) -> None:
    caller = await as_roles(grant(role.value))
    for operation in OPERATIONS:
        needed = right_of(operation).role

        if operation.path == "/metrics" or operation.stream:
            async with caller.session.get(caller.url + filled(operation)) as answer:
                status, code = answer.status, ""
        else:
            status, answer = await caller.call(operation.method, filled(operation))
            code = answer["code"] if status == 403 else ""

        is_allowed = needed is None or role.includes(needed)
        assert (status == 403) is not is_allowed, (operation.key, status)
        assert status != 401
        assert code in {"", "missing_role"}


async def test_the_openapi_document_names_the_right_of_each_operation(client: Client) -> None:
    _, document = await client.call("GET", "/openapi.json")

    for operation in OPERATIONS:
        described = document["paths"][operation.path][operation.method.lower()]
        right = right_of(operation)
        assert ("401" in described["responses"]) == (right.role is not None)
        assert right.text in described.get("description", "none")


@pytest.fixture
async def shop(client: Client, plane: Plane) -> Client:
    """The owner's client, of a plane with the app ``order-app`` in ``dev-me`` and ``prod``."""
    await upload(client)
    for path, body in {
        "/v1/environments/dev": {"name": "dev", "data": {"vars": {"subPath": "me"}}},
        "/v1/environments/live": {"name": "live", "data": {"vars": {"subPath": "live"}}},
        "/v1/virtual-environments/dev-me": {
            "name": "dev-me",
            "environment": "dev",
            "release_policy": {"type": "Testing"},
        },
        "/v1/virtual-environments/prod": {
            "name": "prod",
            "environment": "live",
            "release_policy": {"type": "Testing"},
        },
    }.items():
        assert (await client.call("PUT", path, body))[0] == 200
    assert (await client.deploy("main"))[0] == 200
    await plane.publish(*pods_of(API))
    return client


ABORT: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("roles", "method", "path", "body"),
    [
        # Another app, or a deployment of another app under a name of its own.
        ([grant("deploy", "cart")], "DELETE", "/v1/deployments/main", None),
        ([grant("deploy", "cart")], "POST", "/v1/deployments/main/undo", {}),
        ([grant("deploy", "cart")], "POST", "/v1/plans", {"name": "x", "app": "order-app"}),
        ([grant("deploy", "cart")], "POST", "/v1/plans", {"name": "main", "app": "cart"}),
        (
            [grant("deploy", "cart")],
            "PUT",
            "/v1/deployments/main",
            {"deployment": {"name": "main", "app": "cart", "components": {}}},
        ),
        ([grant("deploy", "cart")], "POST", "/v1/scales", {"component": "api-server"}),
        (
            [grant("deploy", "cart")],
            "POST",
            "/v1/scales",
            {"component": "api-server", "deployment": "main"},
        ),
        # Another virtual environment, or another app in it; by selector, by name, by nothing.
        ([grant("release", "*", "dev-*")], "POST", "/v1/releases/prod", {"selector": "main"}),
        ([grant("release", "cart")], "POST", "/v1/releases/dev-me", {"selector": "main"}),
        (
            [grant("release", "cart", "*"), grant("release", "*", "dev-*")],
            "POST",
            "/v1/releases/prod",
            {"apps": {"order-app": {"deployment": "main"}}},
        ),
        ([grant("release", "*", "dev-*")], "POST", "/v1/releases/prod", {"apps": {}}),
        ([grant("release", "*", "dev-*")], "POST", "/v1/releases/prod/abort", {}),
        # Values and secrets: the environment behind a virtual one counts too.
        ([grant("admin", "*", "dev-*")], "PUT", "/v1/environments/dev", {"name": "dev"}),
        ([grant("admin", "*", "dev")], "PUT", "/v1/environments/dev", {"name": "dev"}),
        (
            [grant("admin", "*", "dev*")],
            "PUT",
            "/v1/virtual-environments/dev-2",
            {"name": "dev-2", "environment": "live"},
        ),
        ([grant("admin", "*", "dev*")], "DELETE", "/v1/virtual-environments/prod", None),
        ([grant("admin", "order-app")], "DELETE", "/v1/virtual-environments/dev-me", None),
        (
            [grant("admin", "*", "dev*")],
            "PUT",
            "/v1/http-adapters/x",
            {"name": "x", "url": "http://x"},
        ),
        # What is of all.
        ([grant("admin", "order-app")], "POST", "/v1/prune", {}),
        ([grant("admin", "*", "dev*")], "POST", "/v1/tokens", {"name": "x", "grants": []}),
        ([grant("admin", "*", "dev*")], "GET", "/v1/tokens", None),
        ([grant("view", "cart")], "GET", "/v1/deployments/main", None),
        ([grant("view", "cart")], "GET", "/v1/deployments/main/history", None),
        ([grant("view", "*", "dev-*")], "GET", "/v1/virtual-environments/prod", None),
        ([grant("view", "*", "dev-*")], "GET", "/v1/environments/live", None),
        ([grant("view", "*", "dev-*")], "GET", "/v1/releases/prod", None),
        ([grant("view", "cart")], "GET", f"/v1/pods/api-server-{API.hash[:12]}-x1", None),
        ([grant("view", "order-app")], "GET", "/metrics", None),
    ],
)
async def test_a_role_ends_at_its_scope(
    shop: Client, as_roles: As, roles: list[Any], method: str, path: str, body: object
) -> None:
    caller = await as_roles(*roles)

    status, answer = await caller.call(method, path, body)

    assert (status, answer["code"]) == (403, "missing_role"), answer


async def test_a_role_reaches_to_its_scope(shop: Client, as_roles: As) -> None:
    caller = await as_roles(
        grant("deploy", "order-app", "dev*"),
        grant("release", "order-*", "dev-me"),
        grant("admin", "*", "dev*"),
    )

    statuses = [
        (await caller.call(method, path, body))[0]
        for method, path, body in (
            ("GET", "/v1/deployments/main", None),
            ("POST", "/v1/plans", {"name": "main", "app": "order-app"}),
            ("POST", "/v1/releases/dev-me", {"selector": "main"}),
            ("PUT", "/v1/environments/dev", {"name": "dev", "data": {"vars": {"subPath": "x"}}}),
            ("PUT", "/v1/virtual-environments/dev-2", {"name": "dev-2", "environment": "dev"}),
            ("DELETE", "/v1/virtual-environments/dev-2", None),
        )
    ]

    assert statuses == [200, 200, 200, 200, 200, 204]


async def test_a_deployment_that_serves_another_virtual_environment_is_out_of_reach(
    shop: Client, as_roles: As
) -> None:
    caller = await as_roles(grant("deploy", "order-app", "dev-*"))
    before, _ = await caller.deploy("main")
    assert (await shop.call("POST", "/v1/releases/prod", {"selector": "main"}))[0] == 200

    after, answer = await caller.deploy("main")

    assert (before, after, answer["code"]) == (200, 403, "missing_role")
    assert "virtual environment prod" in answer["detail"]


async def test_lists_show_what_the_role_covers(shop: Client, as_roles: As) -> None:
    developer = await as_roles(grant("view", "*", "dev*"))
    other = await as_roles(grant("view", "cart"))

    environments = await developer.items("/v1/environments")
    virtual = await developer.items("/v1/virtual-environments")

    assert [each["object"]["name"] for each in environments] == ["dev"]
    assert [each["object"]["name"] for each in virtual] == ["dev-me"]
    assert len(await developer.items("/v1/deployments")) == 1
    for path in ("deployments", "pods", "scales", "idle-versions"):
        assert await other.items(f"/v1/{path}") == []


async def test_an_explanation_shows_what_the_role_covers(shop: Client, as_roles: As) -> None:
    developer = await as_roles(grant("view", "*", "dev*"))

    own, _ = await developer.call("GET", "/v1/explain?url=/me/orders/1?kf-dep=main%26kf-ve=dev-me")
    other, answer = await developer.call(
        "GET", "/v1/explain?url=/live/orders/1?kf-dep=main%26kf-ve=prod"
    )

    assert (own, other, answer["code"]) == (200, 403, "missing_role")
