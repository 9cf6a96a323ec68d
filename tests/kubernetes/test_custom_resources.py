"""Custom resources on a real API: applied to the platform, refused, deleted, and their status."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from kubefox.custom_resources import ENVIRONMENT, FORCE
from kubefox.environment import Environment, EnvironmentData, HTTPAdapter, VirtualEnvironment
from kubefox.status import CheckState
from tests.control.releasing import API, UI
from tests.kubernetes.account import CONTROL_RULES, make_account
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.resources import (
    Applying,
    Resources,
    environment,
    http_adapter,
    virtual_environment,
)
from tests.support.control_plane import Plane, open_plane, pods_of
from tests.support.nats import NatsServer


async def test_resources_of_every_kind_are_applied_and_audited(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(
        virtual_environment(data={"vars": {"greeting": "hello"}}),
        environment(data={"vars": {"list": ["a", 1], "flag": True, "share": 0.5}}),
        http_adapter(headers={"x-api": "{{.Secrets.key}}"}),
    )

    for kind, name in (("environment", "dev"), ("ve", "team-a"), ("httpadapter", "mail")):
        await resources.wait_condition(kind, name, "Ready", "Applied")
    snapshot = plane.store.snapshot
    assert snapshot.environments["dev"].data.vars == {"list": ["a", 1], "flag": True, "share": 0.5}
    assert snapshot.virtual_environments["team-a"].environment == "dev"
    assert snapshot.http_adapters["mail"].headers == {"x-api": "{{.Secrets.key}}"}
    records = [record for record in await applying.audited() if record.status == 200]
    assert {(record.operation, record.target) for record in records} == {
        ("PUT /v1/environments/{name}", "/v1/environments/dev"),
        ("PUT /v1/virtual-environments/{name}", "/v1/virtual-environments/team-a"),
        ("PUT /v1/http-adapters/{name}", "/v1/http-adapters/mail"),
    }
    assert {record.kind for record in records} == {"kubernetes"}


async def test_a_change_is_applied_once_and_its_generation_is_observed(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(environment(data={"vars": {"a": 1}}))
    first = await resources.wait_condition("environment", "dev", "Synced", "Applied")

    await resources.apply(environment(data={"vars": {"a": 2}}))
    second = await resources.wait_condition("environment", "dev", "Synced", "Applied")

    assert plane.store.snapshot.environments["dev"].data.vars == {"a": 2}
    assert (first["observedGeneration"], second["observedGeneration"]) == (1, 2)
    assert first["lastTransitionTime"] == second["lastTransitionTime"]
    assert len(await applying.audited()) == 2


async def test_a_change_costs_work_for_its_own_resource_alone(
    applying: Applying, resources: Resources
) -> None:
    many = [environment(f"dev-{number}") for number in range(30)]
    await resources.apply(*many)
    for number in range(30):
        await resources.wait_condition("environment", f"dev-{number}", "Synced", "Applied")
    before = applying.visits

    await resources.apply(environment("dev-7", data={"vars": {"a": 1}}))
    await resources.wait_condition("environment", "dev-7", "Synced", "Applied")

    # The resource, its record, and perhaps what the API says of the status.
    assert 1 <= applying.visits - before <= 4


REFUSED: list[tuple[dict[str, Any], str]] = [
    (environment(spec={"relasePolicy": {}}), "unknown field"),
    (environment(spec={"selection": "none"}), "Unsupported value"),
    (environment(spec={"releasePolicy": {"activationDeadlineSeconds": 0}}), "greater than 0"),
    (environment(spec={"releasePolicy": {"historyLimits": {"count": 101}}}), "less than or equal"),
    (environment(data={"secrets": {"token": "x"}}), "put them into a Secret"),
    (environment("dev.eu"), "metadata.name must have"),
    (http_adapter(url="ftp://mail.example"), "should match"),
    (http_adapter(headers={"a b": "c"}), "the keys must match"),
    ({**virtual_environment(), "spec": {}}, 'missing required field "environment"'),
    (virtual_environment(base="Dev"), "should match"),
    (
        virtual_environment(spec={"release": {"apps": {"Shop": {"appDeployment": "s"}}}}),
        "must match",
    ),
]


@pytest.mark.parametrize(("manifest", "message"), REFUSED)
async def test_what_the_definition_forbids_is_refused_by_the_api(
    resources: Resources, manifest: dict[str, Any], message: str
) -> None:
    with pytest.raises(AssertionError, match=message):
        await resources.apply(manifest)


async def test_a_virtual_environment_cannot_move(resources: Resources) -> None:
    await resources.apply(virtual_environment())

    with pytest.raises(AssertionError, match="cannot move to another environment"):
        await resources.apply(virtual_environment(base="other"))


async def test_what_the_platform_refuses_is_told_and_applied_once_it_can_be(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(
        virtual_environment(), environment("prod", data={"vars": {"a b": 1, "c": {"d": 1}}})
    )
    missing = await resources.wait_condition("ve", "team-a", "Ready", "ProblemsFound")
    invalid = await resources.wait_condition("environment", "prod", "Synced", "Invalid")
    check = await applying.controller.check()

    await resources.apply(environment())
    await resources.wait_condition("ve", "team-a", "Ready", "Applied")

    assert "environment dev does not exist" in missing["message"]
    assert "data.vars.c: expected a string" in invalid["message"]
    assert "2 of them not synced" in check.detail
    assert plane.store.snapshot.environments.keys() == {"dev"}


async def test_a_resource_that_is_nested_too_deeply_hides_no_other(
    resources: Resources, plane: Plane, tmp_path: Path
) -> None:
    for name in ("listed", "watched"):
        text = json.dumps(environment(name, data={"vars": {"a": "DEEP"}}))
        (tmp_path / name).write_text(text.replace('"DEEP"', "[" * 2_000 + "]" * 2_000))
    create = ("create", "--filename")
    await resources.kubectl(*create, str(tmp_path / "listed"))
    await resources.apply(environment("dev"))

    async with resources.applied(plane, tmp_path / "audit"):
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        await resources.kubectl(*create, str(tmp_path / "watched"))
        await resources.apply(environment("prod"))
        await resources.wait_condition("environment", "prod", "Synced", "Applied")

    assert plane.store.snapshot.environments.keys() == {"dev", "prod"}


async def test_an_object_in_use_stays_until_it_is_free(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(environment(), virtual_environment())
    await resources.wait_condition("ve", "team-a", "Ready", "Applied")

    await resources.kubectl("delete", "environment", "dev", "--wait=false")
    in_use = await resources.wait_condition("environment", "dev", "Ready", "InUse")
    await resources.kubectl("delete", "ve", "team-a")
    await resources.wait_gone("environment", "dev")

    assert "used by virtual environment team-a" in in_use["message"]
    assert not plane.store.snapshot.environments
    assert not plane.store.snapshot.virtual_environments


async def test_a_release_is_requested_once_and_its_state_comes_back(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    release = {"apps": {"order-app": {"appDeployment": "order-app-v1"}}}
    await resources.apply(
        environment(),
        virtual_environment(data={"vars": {"subPath": "a"}}, spec={"release": release}),
    )
    refused = await resources.wait_condition("ve", "team-a", "Synced", "ProblemsFound")
    await plane.deploy("order-app-v1", UI, API, version="v1")
    pending = await resources.wait_condition("ve", "team-a", "Ready", "ReleasePending")
    await plane.publish(*pods_of(UI, API))
    async with plane.control.activator:
        await resources.wait_condition("ve", "team-a", "Ready", "Released")
        await plane.control.releases.request_apps("team-a", {})
        replaced = await resources.wait_condition("ve", "team-a", "Ready", "ReleaseReplaced")

    assert "order-app-v1" in refused["message"]
    assert "pod" in pending["message"]
    assert "Change spec.release" in replaced["message"]
    assert plane.store.snapshot.releases["team-a"].active is None


async def test_a_virtual_environment_is_deleted_with_its_release_if_that_is_forced(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.deploy("order-app-v1", UI, API, version="v1")
    await plane.publish(*pods_of(UI, API))
    release = {"apps": {"order-app": {"appDeployment": "order-app-v1", "version": "v1"}}}
    values = {"vars": {"subPath": "a"}}
    await resources.apply(
        environment(), virtual_environment(data=values, spec={"release": release})
    )
    await resources.wait_condition("ve", "team-a", "Ready", "Released")

    await resources.kubectl("delete", "ve", "team-a", "--wait=false")
    in_use = await resources.wait_condition("ve", "team-a", "Ready", "InUse")
    await resources.kubectl("annotate", "ve", "team-a", f"{FORCE}=true")
    await resources.wait_gone("ve", "team-a")

    assert "has a release" in in_use["message"]
    assert not plane.store.snapshot.virtual_environments
    assert not plane.store.snapshot.releases


async def test_changes_of_others_are_undone_a_few_times_and_then_told(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    put, wanted = plane.control.environments.put, {"a": 1}
    await resources.apply(environment(data={"vars": wanted}))
    await resources.wait_condition("environment", "dev", "Synced", "Applied")

    def is_undone() -> bool:
        return plane.store.snapshot.environments["dev"].data.vars == wanted

    for number in range(3):
        await put(Environment(name="dev", data=EnvironmentData(vars={"a": f"other {number}"})))
        await plane.wait_data(is_undone)
    await put(Environment(name="dev", data=EnvironmentData(vars={"a": "last"})))
    told = await resources.wait_condition("environment", "dev", "Synced", "ChangedOutside")
    await resources.apply(environment(data={"vars": {"a": 2}}))
    await resources.wait_condition("environment", "dev", "Synced", "Applied")

    assert "3 changes were undone within 10 minutes" in told["message"]
    assert plane.store.snapshot.environments["dev"].data.vars == {"a": 2}


async def test_an_object_that_was_there_is_taken_over(
    applying: Applying, resources: Resources, plane: Plane
) -> None:
    await plane.control.environments.put(HTTPAdapter(name="mail", url="https://old.example"))

    await resources.apply(http_adapter())
    await resources.wait_condition("httpadapter", "mail", "Synced", "Applied")
    await resources.kubectl("delete", "httpadapter", "mail")

    assert not plane.store.snapshot.http_adapters


async def test_a_restarted_control_process_catches_up(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    async with resources.applied(plane, tmp_path / "one"):
        await resources.apply(environment(), environment("old"))
        for name in ("dev", "old"):
            await resources.wait_condition("environment", name, "Synced", "Applied")
    await resources.apply(environment(data={"vars": {"a": 1}}), environment("new"))
    await resources.kubectl("delete", "environment", "old", "--wait=false")

    async with resources.applied(plane, tmp_path / "two") as applying:
        for name in ("dev", "new"):
            await resources.wait_condition("environment", name, "Synced", "Applied")
        await resources.wait_gone("environment", "old")
        operations = sorted(record.operation for record in await applying.audited())

    assert plane.store.snapshot.environments.keys() == {"dev", "new"}
    assert operations == ["DELETE /v1/environments/{name}"] + ["PUT /v1/environments/{name}"] * 2


async def test_of_two_control_processes_one_applies_until_it_ends(
    own_nats_server: NatsServer, resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    async with (
        open_plane(own_nats_server.url, "control-2") as other_plane,
        resources.applied(plane, tmp_path / "one", "one") as one,
    ):
        await resources.apply(environment())
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        async with resources.applied(other_plane, tmp_path / "two", "two") as two:
            await resources.apply(environment(data={"vars": {"a": 1}}))
            await resources.wait_condition("environment", "dev", "Synced", "Applied")
            standby = await two.controller.check()
            counts = [len(await each.audited()) for each in (one, two)]

    async with (
        open_plane(own_nats_server.url, "control-3") as other_plane,
        resources.applied(other_plane, tmp_path / "three", "three") as three,
    ):
        await resources.apply(environment(data={"vars": {"a": 2}}))
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        counts.append(len(await three.audited()))

    assert "another control process" in standby.detail
    assert counts == [2, 0, 1]


async def test_missing_rights_are_told_until_they_are_given(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    token = (await resources.kubectl("create", "token", "default")).strip()
    await resources.apply(environment())

    async with resources.with_token(token).applied(plane, tmp_path / "audit") as applying:
        refused = await applying.wait_check("they cannot be followed")
        account = f"--serviceaccount={resources.namespace}:default"
        await resources.kubectl(
            "create", "rolebinding", "all", "--clusterrole=cluster-admin", account
        )
        await resources.wait_condition("environment", "dev", "Synced", "Applied")
        await applying.wait_check("1 applied from the cluster, 0 shown there", CheckState.OK)

    assert "forbidden" in refused.detail


async def test_a_status_that_cannot_be_written_is_told(
    resources: Resources, plane: Plane, leases: None, tmp_path: Path
) -> None:
    rules = [rule for rule in CONTROL_RULES if "environments/status" not in rule["resources"]]
    token = await asyncio.to_thread(
        make_account, resources.cluster, resources.namespace, rules, "no-status"
    )
    await resources.apply(environment())

    async with resources.with_token(token).applied(plane, tmp_path / "audit") as applying:
        await applying.wait_check("1 of them not synced: Environment dev")

    assert plane.store.snapshot.environments.keys() == {"dev"}


async def test_an_api_server_that_was_away_is_followed_again(
    lab: LabCluster, applying: Applying, resources: Resources, plane: Plane
) -> None:
    await resources.apply(environment())
    await resources.wait_condition("environment", "dev", "Synced", "Applied")

    await asyncio.to_thread(lab.control_plane.kill_api_server)
    await plane.control.environments.put(VirtualEnvironment(name="own", environment="dev"))
    await asyncio.to_thread(lab.control_plane.start_api_server)
    await resources.apply(environment(data={"vars": {"a": 1}}))
    await resources.wait_condition("environment", "dev", "Synced", "Applied")

    assert plane.store.snapshot.environments["dev"].data.vars == {"a": 1}


async def test_a_gap_in_the_watch_is_closed_by_a_new_list(
    lab: LabCluster,
    applying: Applying,
    resources: Resources,
    plane: Plane,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await resources.apply(environment(), environment("old"))
    for name in ("dev", "old"):
        await resources.wait_condition("environment", name, "Synced", "Applied")
    term = applying.controller._term
    assert term is not None
    following, lists = term._followings[ENVIRONMENT], []
    listed = following._list

    async def count_list() -> None:
        version = following._version
        # A list may fail while the API server starts.
        await listed()
        lists.append(version)

    await asyncio.to_thread(lab.control_plane.kill_api_server)
    # Older than all that the API server can still tell: 410.
    following._version = "1"
    monkeypatch.setattr(following, "_list", count_list)
    await asyncio.to_thread(lab.control_plane.start_api_server)
    await resources.apply(environment("new"))
    await resources.kubectl("delete", "environment", "old")
    await resources.wait_condition("environment", "new", "Synced", "Applied")

    assert plane.store.snapshot.environments.keys() == {"dev", "new"}
    assert lists == [""]
