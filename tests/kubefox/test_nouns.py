"""Small value classes: apps, components, deployments, environments, events and pods."""

import msgspec
import pytest

from kubefox import subjects
from kubefox.app import AppSpec, ComponentSpec, Module
from kubefox.component import ComponentDefinition, ComponentVersion, Variable, short
from kubefox.deployment import Deployment, SourceRef
from kubefox.digest import RuntimeSpec
from kubefox.environment import (
    Environment,
    EnvironmentData,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
    overlay,
    policy_of,
)
from kubefox.event import Event, EventType
from kubefox.pod import LogLine, PodPhase, PodStatus

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DEV = Environment(
    name="dev",
    data=EnvironmentData(vars={"a": "dev", "b": "dev"}, secrets={"key": "dev"}),
)
TESTING = ReleasePolicy(type=PolicyType.TESTING)


def team(
    data: EnvironmentData | None = None, policy: ReleasePolicy | None = None
) -> VirtualEnvironment:
    return VirtualEnvironment(
        name="team-a",
        environment="dev",
        data=data or EnvironmentData(),
        release_policy=policy,
    )


def test_app_yaml_is_decoded_with_its_modules() -> None:
    spec = msgspec.convert(
        {"name": "order-app", "modules": {"web-ui": {"components": ["order-ui"]}}}, AppSpec
    )

    assert spec == AppSpec(name="order-app", modules={"web-ui": Module(components=("order-ui",))})


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (AppSpec, {"name": "a", "modul": {}}),
        (Module, {"component": []}),
        (ComponentSpec, {"includes": []}),
        (ComponentSpec, {"runtime": {"entri": "start.py"}}),
        (ComponentSpec, {"runtime": {"image": ""}}),
    ],
)
def test_a_misspelt_field_is_refused(kind: type[msgspec.Struct], content: object) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(content, kind)


def test_component_yaml_is_optional() -> None:
    spec = msgspec.convert({}, ComponentSpec)

    assert spec.runtime_spec == RuntimeSpec(kind="python", entry="main.py", image="")


def test_a_component_version_is_named_by_its_definition() -> None:
    version = ComponentVersion(
        app="order-app", hash="0" * 32, definition=ComponentDefinition(name="api-server")
    )

    assert version.name == "api-server"


def test_the_short_hash_has_twelve_characters() -> None:
    assert short("0123456789abcdef" * 2) == "0123456789ab"


@pytest.mark.parametrize(("default", "required"), [(None, True), ("", False), (False, False)])
def test_a_variable_without_a_default_is_required(default: str | bool, required: bool) -> None:
    assert Variable(name="greeting", default=default).is_required is required


def test_a_version_makes_a_deployment_immutable() -> None:
    deployment = Deployment(name="v1", app="order-app", components={})

    assert not deployment.is_immutable
    assert msgspec.structs.replace(deployment, version="1.0").is_immutable


@pytest.mark.parametrize(
    ("selector", "answers"),
    [
        ("order-app-v1", True),
        ("1.0", True),
        ("v1.0", True),
        ("main", True),
        (COMMIT, True),
        (COMMIT[:7], True),
        (COMMIT[:6], False),
        (COMMIT + "0", False),
        ("order-app", False),
        ("", False),
    ],
)
def test_a_selector_matches_a_deployment_by_each_of_its_names(selector: str, answers: bool) -> None:
    deployment = Deployment(
        name="order-app-v1",
        app="order-app",
        components={},
        version="1.0",
        source=SourceRef(commit=COMMIT, branch="main", tag="v1.0"),
    )

    assert deployment.matches(selector) is answers


def test_a_deployment_without_a_repository_is_matched_by_its_name_only() -> None:
    deployment = Deployment(name="order-app-v1", app="order-app", components={})

    assert deployment.matches("order-app-v1")
    assert not deployment.matches("")


def test_values_of_a_virtual_environment_override_the_environment() -> None:
    own = EnvironmentData(vars={"b": "own", "c": "own"}, secrets={"key": "own"})

    assert overlay(DEV, team(own)) == EnvironmentData(
        vars={"a": "dev", "b": "own", "c": "own"}, secrets={"key": "own"}
    )


@pytest.mark.parametrize(
    ("below", "own", "in_force"),
    [
        (None, None, PolicyType.STABLE),
        (TESTING, None, PolicyType.TESTING),
        (TESTING, ReleasePolicy(), PolicyType.STABLE),
        (None, TESTING, PolicyType.TESTING),
    ],
)
def test_the_release_policy_of_the_virtual_environment_overrides_the_environment(
    below: ReleasePolicy | None, own: ReleasePolicy | None, in_force: PolicyType
) -> None:
    environment = msgspec.structs.replace(DEV, release_policy=below)

    assert policy_of(environment, team(policy=own)).type is in_force


def test_pod_keys_of_one_component_version_have_a_common_prefix() -> None:
    pod = PodStatus(
        id="api-0-x", app="order-app", component="api", hash="0" * 32, phase=PodPhase.READY
    )

    assert pod.key == f"order-app.api.{'0' * 32}.api-0-x"
    assert pod.version == ("order-app", "api", "0" * 32)


@pytest.mark.parametrize(
    ("subject", "hop"),
    [
        (
            subjects.component("order-app", "api-server", "0123456789abcdef"),
            "api-server@0123456789ab",
        ),
        (subjects.adapter("state-store"), "adapter/state-store"),
        (
            f"evt.order-app.api-server.0123456789abcdef.order-ui@{'0' * 32}",
            "api-server@0123456789ab",
        ),
        (f"adapter.state-store.order-app.order-ui@{'0' * 32}", "adapter/state-store"),
        (subjects.USAGE, "broker/usage"),
        (subjects.reply_prefix("p1") + "7", "reply/p1/7"),
    ],
)
def test_hop_names_the_receiver_of_a_subject(subject: str, hop: str) -> None:
    assert subjects.hop(subject) == hop


@pytest.mark.parametrize(("now_s", "left_s"), [(10, 1.5), (11.5, 0), (20, 0)])
def test_remaining_time_of_an_event_is_never_negative(now_s: float, left_s: float) -> None:
    event = Event(
        id="e",
        genesis_id="e",
        type=EventType.HTTP,
        context="",
        source="adapter/http",
        deadline_ms=11_500,
    )

    assert event.remaining_s(now_s) == left_s


@pytest.mark.parametrize("text", ["plain", "{", "[1]", "{" + '"a":[' * 5_000, ""])
def test_a_line_that_is_no_json_object_has_no_fields(text: str) -> None:
    assert LogLine(pod="p", component="c", hash="h", line=text).fields == {}
