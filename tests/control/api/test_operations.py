"""The operations of the control API, over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from broker.events.dead_letters import DeadLetters
from broker.events.outbox import ensure_outbox
from control.api.operations.all import OPERATIONS
from control.secret_masks import MASK
from kubefox import subjects
from kubefox.dead_letter import DeadLetterRecord
from kubefox.deployment import Deployment
from kubefox.environment import Environment, EnvironmentData, PolicyType
from kubefox.errors import ErrorDetail
from kubefox.release import ReleaseState
from tests.control.api.client import API, API_V2, UI, Client, upload
from tests.support.control_plane import Plane, deployment, pods_of


async def test_plan_upload_deploy_and_release_over_the_api(client: Client, plane: Plane) -> None:
    await plane.environments("team-a")
    wanted = {"order-ui": UI.hash, "api-server": API.hash}

    plan = {"name": "order-app-v1", "app": "order-app", "components": wanted}
    status, planned = await client.call("POST", "/v1/plans", plan)
    assert (status, planned["missing_bundles"]) == (200, sorted(wanted.values()))

    await upload(client)
    status, deployed = await client.deploy("order-app-v1", "v1")
    assert status == 200
    assert deployed.keys() == {"revision", "object", "state", "rollout", "warnings"}
    assert (deployed["state"], deployed["rollout"]) == ("starting", None)
    assert await client.items("/v1/deployments") == [deployed]
    assert await client.call("GET", "/v1/deployments/order-app-v1") == (200, deployed)
    assert msgspec.convert(deployed["object"], Deployment).components == wanted

    status, pending = await client.call("POST", "/v1/releases/team-a", {"selector": "v1"})
    assert status == 200
    state = msgspec.convert(pending["object"], ReleaseState)
    assert state.pending is not None
    assert [problem.type for problem in state.pending.problems] == ["PodNotReady", "PodNotReady"]

    async with plane.control.activator:
        await plane.publish(*pods_of(UI, API))
        await plane.wait_data(
            lambda: plane.control.releases.get("team-a").object.active is not None
        )
    status, active = await client.call("GET", "/v1/releases/team-a")
    assert (status, active["object"]["pending"]) == (200, None)
    assert await client.items("/v1/releases") == [active]

    status, _ = await client.call("DELETE", "/v1/deployments/order-app-v1")
    assert status == 409

    apps = {"order-app": {"deployment": "order-app-v1", "version": "v1"}}
    status, again = await client.call("POST", "/v1/releases/team-a", {"apps": apps})
    assert (status, again) == (200, active)

    status, none = await client.call("POST", "/v1/releases/team-a", {"apps": {}})
    assert (status, none["object"]["active"]) == (200, None)
    assert none["object"]["history"][0]["archive_reason"] == "Withdrawn"
    await client.call("POST", "/v1/releases/team-a/rollback")

    pods = await client.items("/v1/pods")
    assert [pod["component"] for pod in pods] == ["api-server", "order-ui"]
    assert await client.call("GET", f"/v1/pods/{pods[0]['id']}") == (200, pods[0])

    url = "/v1/explain?url=http://localhost/team-a/orders/7&header=Accept:%20text/html"
    status, explained = await client.call("GET", url)
    assert (status, explained["winner"]["component"]) == (200, "order-ui")
    assert explained["winner"]["params"] == {"id": "7"}


async def test_scale_over_the_api(client: Client) -> None:
    await upload(client)
    await client.deploy("order-app-v1", "v1")

    body = {"component": "api-server", "deployment": "order-app-v1", "scale": {"min": 2}}
    status, override = await client.call("POST", "/v1/scales", body)
    assert (status, override["scale"]) == (200, {"min": 2})
    rows = await client.items("/v1/scales")
    assert [row["limits"]["min"] for row in rows] == [2, 0]

    status, none = await client.call("POST", "/v1/scales", {**body, "scale": {}, "reset": True})
    assert (status, none) == (204, None)


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


async def test_a_deployment_is_changed_undone_and_aborted_over_the_api(
    client: Client, plane: Plane
) -> None:
    await upload(client)
    await plane.publish(*pods_of(UI, API))
    _, first = await client.deploy("main")
    assert (first["state"], first["object"]["generation"]) == ("ready", 1)

    await plane.control.bundles.put(API_V2.hash, b"code")
    body = {
        "deployment": deployment("main", UI, API_V2),
        "components": [API_V2],
        "deadline_s": 60,
    }
    status, rolling = await client.call("PUT", "/v1/deployments/main", body)
    assert (status, rolling["state"]) == (200, "rolling")
    assert rolling["rollout"]["deadline_s"] == 60
    assert rolling["object"] == first["object"]

    status, aborted = await client.call("POST", "/v1/deployments/main/abort")
    assert (status, aborted["rollout"]["phase"]) == (200, "aborted")
    assert (await client.call("POST", "/v1/deployments/main/abort"))[0] == 404
    assert (await client.call("POST", "/v1/releases/team-a/abort"))[0] == 404

    await plane.publish(*pods_of(API_V2))
    await client.call("PUT", "/v1/deployments/main", body)
    status, undone = await client.call("POST", "/v1/deployments/main/undo", {"generation": 1})
    assert (status, undone["object"]["generation"]) == (200, 4)

    status, history = await client.call("GET", "/v1/deployments/main/history")
    assert (status, history["rollout"], history["current"]) == (200, None, undone["object"])
    assert [earlier["generation"] for earlier in history["earlier"]] == [3, 1]


@pytest.mark.parametrize("path", ["/v1/deployments/main", "/v1/virtual-environments/team-a"])
async def test_a_share_ends_when_what_it_shares_is_deleted(
    client: Client, plane: Plane, path: str
) -> None:
    await plane.environments("team-a")
    await upload(client)
    await client.deploy("main")
    wanted = {"deployment": "main", "virtual_environment": "team-a"}
    assert (await client.call("POST", "/v1/shares", wanted))[0] == 200

    assert (await client.call("DELETE", path))[0] == 204

    assert await client.items("/v1/shares") == []


async def test_undeploy_answers_without_content(client: Client) -> None:
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
async def test_each_kind_is_written_read_listed_and_deleted(
    client: Client, plane: Plane, path: str, record: dict[str, Any]
) -> None:
    if "virtual" in path:
        await plane.environments()

    status, stored = await client.call("PUT", path, record)
    assert status == 200
    assert record.items() <= {**stored["object"], "data": record.get("data")}.items()
    assert await client.call("GET", path) == (200, stored)
    assert await client.items(path.rpartition("/")[0]) == [stored]

    match = {"if-match": f'"{stored["revision"]}"'}
    assert await client.call("DELETE", path, headers=match) == (204, None)
    assert (await client.call("DELETE", path))[0] == 404


async def test_if_match_of_a_put_of_an_environment(client: Client) -> None:
    record = {"name": "dev"}
    _, stored = await client.call("PUT", "/v1/environments/dev", record, headers={"if-match": "0"})

    status, answer = await client.call(
        "PUT", "/v1/environments/dev", record, headers={"if-match": "0"}
    )
    assert (status, answer["code"]) == (409, "revision_conflict")
    for expected in (str(stored["revision"]), "*"):
        status, _ = await client.call(
            "PUT", "/v1/environments/dev", record, headers={"if-match": expected}
        )
        assert status == 200
    for garbage in ("new", "-1", "1_0", "9" * 5_000, ""):
        status, _ = await client.call(
            "PUT", "/v1/environments/dev", record, headers={"if-match": garbage}
        )
        assert status == 400


@pytest.mark.parametrize("path", ["/v1/environments/dev", "/v1/deployments/main"])
async def test_if_match_any_does_not_create(client: Client, path: str) -> None:
    await upload(client)
    body = {"deployment": deployment("main", API), "components": [API]}
    record = body if "deployments" in path else {"name": "dev"}
    any_revision = {"if-match": "*"}

    refused, answer = await client.call("PUT", path, record, headers=any_revision)

    assert (refused, answer["code"]) == (409, "revision_conflict")
    assert "does not exist" in answer["detail"]
    assert (await client.call("GET", path))[0] == 404
    assert (await client.call("PUT", path, record))[0] == 200
    assert (await client.call("PUT", path, record, headers=any_revision))[0] == 200
    assert (await client.call("DELETE", path, headers=any_revision))[0] == 204


async def test_if_match_of_a_deploy_and_an_undeploy(client: Client) -> None:
    await upload(client)
    path, body = (
        "/v1/deployments/main",
        {"deployment": deployment("main", API), "components": [API]},
    )
    _, first = await client.call("PUT", path, body, headers={"if-match": "0"})
    _, second = await client.deploy("main")
    old = {"if-match": str(first["revision"])}

    replaced, answer = await client.call("PUT", path, body, headers=old)
    removed, _ = await client.call("DELETE", path, headers=old)

    assert (replaced, answer["code"]) == (409, "revision_conflict")
    assert removed == 409
    assert await client.call("GET", path) == (200, second)
    current = {"if-match": str(second["revision"])}
    assert (await client.call("DELETE", path, headers=current))[0] == 204


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
    assert (status, answer["code"]) == (409, "in_use")
    status, _ = await client.call("DELETE", "/v1/virtual-environments/team-a?force=true")
    assert status == 204


async def test_only_operations_with_an_effect_of_force_accept_it(client: Client) -> None:
    _, described = await client.call("GET", "/openapi.json")

    assert {
        (path, method)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if "force" in {parameter["name"] for parameter in operation["parameters"]}
    } == {
        ("/v1/environments/{name}", "put"),
        ("/v1/virtual-environments/{name}", "put"),
        ("/v1/virtual-environments/{name}", "delete"),
    }
    status, _ = await client.call("DELETE", "/v1/http-adapters/mail?force=true")
    assert status == 400


async def test_a_breaking_change_of_values_needs_force(client: Client, plane: Plane) -> None:
    await plane.environments("team-a", policy=PolicyType.TESTING)
    await upload(client)
    await client.deploy("main")
    await plane.publish(*pods_of(UI, API))
    await client.call("POST", "/v1/releases/team-a", {"selector": "main"})
    path, bare = "/v1/virtual-environments/team-a", {"name": "team-a", "environment": "dev"}
    explain = "/v1/explain?url=http://localhost/team-a/orders/7"

    refused, answer = await client.call("PUT", path, bare)
    _, before = await client.call("GET", explain)
    forced, _ = await client.call("PUT", f"{path}?force=true", bare)
    _, after = await client.call("GET", explain)

    assert (refused, answer["code"]) == (422, "problems_found")
    (problem,) = answer["problems"]
    assert problem["type"] == "VariableNotFound"
    assert problem["path"] == ("releases.team-a.apps.order-app.components.order-ui.routes[0].rule")
    assert before["winner"]["component"] == "order-ui"
    assert (forced, after["winner"]) == (200, None)
    assert after["problems"] == answer["problems"]
    assert [candidate["refused_by"] for candidate in after["candidates"]] == [problem["message"]]


async def test_the_openapi_document_describes_every_operation(client: Client) -> None:
    status, described = await client.call("GET", "/openapi.json")

    assert (status, described["openapi"], described["info"]["version"]) == (200, "3.1.0", "1.2.3")
    assert {
        (path, method) for path, methods in described["paths"].items() for method in methods
    } == {(operation.path, operation.method.lower()) for operation in OPERATIONS}
    schemas = described["components"]["schemas"]
    assert {"Deployment", "ReleaseState", "ProblemDetails", "Plan"} <= schemas.keys()
    assert _references(described) <= {f"#/components/schemas/{name}" for name in schemas}
    get_logs = described["paths"]["/v1/logs"]["get"]
    assert {parameter["name"] for parameter in get_logs["parameters"]} == {
        "component",
        "pod",
        "deployment",
        "virtual_environment",
        "since_s",
        "tail",
        "follow",
    }


async def test_the_openapi_document_describes_parameters_and_properties(client: Client) -> None:
    _, described = await client.call("GET", "/openapi.json")

    parameters = [
        parameter
        for methods in described["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
    ]
    schemas = described["components"]["schemas"]
    assert all(parameter["description"] for parameter in parameters)
    assert all("Attributes:" not in schema.get("description", "") for schema in schemas.values())
    for name, schema in schemas.items():
        properties = schema.get("properties", {})
        assert [key for key in properties if not properties[key].get("description")] == [], name
    assert "memo" not in schemas["Selectors"]["properties"]
    assert [name for name in schemas if "." in name] == []


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*map(_references, node.values()))
    if isinstance(node, list):
        return set().union(*map(_references, node))
    return set()


async def test_dead_letters_are_listed_read_redelivered_and_deleted(
    client: Client, plane: Plane, dead_letters: DeadLetters
) -> None:
    await ensure_outbox(plane.bus)
    target = subjects.component("order-app", "api-server", API.hash)
    reason = ErrorDetail("refused", "api-server answered 404")
    for number in (1, 2):
        record = DeadLetterRecord(target, b"body", reason, 1, emitted_at_s=number, died_at_s=3)
        await dead_letters.store(record, number)
        await dead_letters.store(record, number)  # as after a crash: one letter

    listed = await client.items("/v1/dead-letters?limit=10")
    _, first = await client.call("GET", f"/v1/dead-letters/{listed[0]['id']}")
    redelivered, _ = await client.call("POST", f"/v1/dead-letters/{first['id']}/redeliver", {})
    deleted, _ = await client.call("DELETE", f"/v1/dead-letters/{listed[1]['id']}")
    missing, _ = await client.call("GET", f"/v1/dead-letters/{first['id']}")

    assert [letter["body"] for letter in (*listed, first)] == ["", "", "body"]
    assert first["detail"] == "api-server answered 404"
    assert (redelivered, deleted, missing) == (204, 204, 404)
    assert await dead_letters.counts() == (1, 0)
    async with client.session.get(f"{client.url}/metrics") as answer:
        assert "kubefox_events_waiting{} 1\n" in await answer.text()


@pytest.mark.parametrize("limit", [0, 10_001])
async def test_the_number_of_listed_dead_letters_is_limited(client: Client, limit: int) -> None:
    status, problem = await client.call("GET", f"/v1/dead-letters?limit={limit}")

    assert status == 400
    assert "expected 1 to 10000" in problem["detail"]
