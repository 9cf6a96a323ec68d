"""The status of a resource."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from fox.custom_resources.cluster_objects import (
    ClusterObject,
    ResourceFault,
    ResourceKey,
    read_fields,
    read_manifest,
    secret_name,
    secrets_in,
)
from fox.custom_resources.conditions import APPLIED, Verdict, verdict_of, verdicts, with_conditions
from fox.custom_resources.readiness import readiness
from kubefox.custom_resources import ENVIRONMENT, VIRTUAL_ENVIRONMENT, ResourceStatus
from kubefox.errors import Problem, ProblemsFound
from kubefox.release import Release, ReleasedApp, ReleaseState

DEV, TEAM = ResourceKey(ENVIRONMENT, "dev"), ResourceKey(VIRTUAL_ENVIRONMENT, "team-a")
FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LATER = FIRST + datetime.timedelta(hours=1)
NOT_APPLIED = Verdict(False, "Invalid", "x")
V1 = {"shop": ReleasedApp(deployment="shop-v1")}
V2 = {"shop": ReleasedApp(deployment="shop-v2", version="v2")}


def resource(**fields: object) -> ClusterObject:
    return msgspec.convert({"metadata": {"name": "dev"}, **fields}, ClusterObject)


def release(apps: dict[str, ReleasedApp], *problems: Problem) -> Release:
    return Release(id="r1", apps=apps, manifest=None, requested_at_s=1, problems=problems)


def told(synced: Verdict, ready: Verdict) -> dict[str, Verdict]:
    return verdicts(synced=synced, ready=ready)


def test_the_time_of_a_condition_changes_with_its_truth_alone() -> None:
    other = NOT_APPLIED._replace(reason="InUse")
    failed = with_conditions(ResourceStatus(), 1, told(NOT_APPLIED, NOT_APPLIED), FIRST)
    still = with_conditions(failed, 2, told(other, other), LATER)
    synced = with_conditions(still, 3, told(APPLIED, other), LATER)

    times = [
        {condition.type: condition.last_transition_time[11:13] for condition in status.conditions}
        for status in (failed, still, synced)
    ]

    assert times == [
        {"Synced": "00", "Ready": "00", "Stalled": "00"},
        {"Synced": "00", "Ready": "00", "Reconciling": "01"},
        {"Synced": "01", "Ready": "00", "Reconciling": "01"},
    ]
    assert [condition.observed_generation for condition in synced.conditions] == [3, 3, 3]


@pytest.mark.parametrize(
    ("kinds", "abnormal"),
    [
        (["EnvironmentNotFound"], "Reconciling"),
        (["EnvironmentNotFound", "InvalidName"], "Stalled"),
    ],
)
def test_problems_of_the_resource_itself_stall_it(kinds: list[str], abnormal: str) -> None:
    problems = tuple(Problem(type=kind, message="m", path="p") for kind in kinds)
    verdict = verdict_of(ProblemsFound("it has problems", problems))

    assert told(verdict, verdict).keys() == {"Synced", "Ready", abnormal}


@pytest.mark.parametrize(
    ("reason", "abnormal"),
    [
        ("Invalid", {"Stalled"}),
        ("InvalidRequest", {"Stalled"}),
        ("ReleaseReplaced", {"Stalled"}),
        ("ProblemsFound", {"Reconciling"}),
        ("SecretUnavailable", {"Reconciling"}),
        ("ReleasePending", {"Reconciling"}),
        ("ChangedOutside", {"Reconciling"}),
    ],
)
def test_a_resource_is_stalled_if_nothing_but_its_change_helps(
    reason: str, abnormal: set[str]
) -> None:
    ready = Verdict(False, reason, "x")

    more = told(APPLIED, ready).items() - {"Synced": APPLIED, "Ready": ready}.items()

    assert dict(more) == {name: Verdict(True, reason, "x") for name in abnormal}
    assert told(APPLIED, APPLIED).keys() == {"Synced", "Ready"}


def test_a_failure_names_its_first_problems_and_how_many_more_there_are() -> None:
    problems = tuple(Problem(type="x", message=f"m{at}", path=f"p{at}") for at in range(12))

    verdict = verdict_of(ProblemsFound("it has problems", problems))

    assert verdict.reason == "ProblemsFound"
    assert verdict.message.startswith("it has problems; p0: m0; p1: m1")
    assert verdict.message.endswith("p9: m9; and 2 more")


@pytest.mark.parametrize(
    ("state", "wanted", "reason"),
    [
        (ReleaseState(virtual_environment="a"), None, "Applied"),
        (ReleaseState(virtual_environment="a", active=release(V1)), V1, "Released"),
        (ReleaseState(virtual_environment="a", pending=release(V1)), V1, "ReleasePending"),
        (
            ReleaseState(virtual_environment="a", active=release(V1), pending=release(V2)),
            V1,
            "ReleaseReplaced",
        ),
        (ReleaseState(virtual_environment="a", active=release(V2)), V1, "ReleaseReplaced"),
        (ReleaseState(virtual_environment="a"), {}, "Released"),
        (ReleaseState(virtual_environment="a", active=release(V1)), {}, "ReleaseReplaced"),
        (ReleaseState(virtual_environment="a"), V1, "ReleaseReplaced"),
    ],
)
def test_a_resource_is_ready_when_its_release_is_in_effect(
    state: ReleaseState, wanted: dict[str, ReleasedApp] | None, reason: str
) -> None:
    assert readiness(state, wanted).reason == reason


def test_the_problems_of_a_pending_release_are_told() -> None:
    problem = Problem(type="PodNotReady", message="api-server has no pod", path="x")
    state = ReleaseState(virtual_environment="a", pending=release(V1, problem))

    assert readiness(state, V1) == Verdict(False, "ReleasePending", "api-server has no pod")


def test_a_field_that_this_version_does_not_know_is_a_fault() -> None:
    with pytest.raises(ResourceFault, match=r"spec: Object contains unknown field `future`"):
        read_fields(TEAM, resource(spec={"environment": "dev", "future": 1}))


def test_the_values_of_a_resource_and_of_its_secret_become_one_object() -> None:
    found = resource(data={"vars": {"a": [1, 2]}, "secretRef": {"name": "keys"}})

    fields = read_fields(DEV, found)
    manifest = read_manifest("dev", fields, secrets_in("keys", {"data": {"token": "czNjcmV0"}}))

    assert secret_name(fields) == "keys"
    assert msgspec.to_builtins(manifest.object)["data"] == {
        "vars": {"a": [1, 2]},
        "secrets": {"token": "s3cret"},
    }


def test_a_secret_that_is_no_text_is_a_fault() -> None:
    with pytest.raises(ResourceFault, match="token of Secret keys is not a text in UTF-8"):
        secrets_in("keys", {"data": {"token": "/w=="}})


def test_a_status_that_cannot_be_read_is_an_empty_one() -> None:
    assert resource(status={"conditions": "none"}).status_of(ENVIRONMENT) == ResourceStatus()
