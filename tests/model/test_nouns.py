"""The nouns that only hold values: what they answer about themselves."""

import msgspec
import pytest

from model import subjects
from model.app import AppSpec, ComponentSpec, Module
from model.component import ComponentDefinition, ComponentVersion, Variable, short
from model.deployment import Deployment, SourceRef
from model.digest import RuntimeSpec
from model.environment import (
    Environment,
    EnvironmentData,
    PolicyType,
    ReleasePolicy,
    VirtualEnvironment,
    overlay,
    policy_of,
)
from model.event import Event, EventType
from model.pod import LogLine, PodPhase, PodStatus

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


def test_app_yaml_is_read_with_its_modules() -> None:
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
    ],
)
def test_a_misspelt_field_is_refused(kind: type[msgspec.Struct], content: object) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(content, kind)


def test_a_component_needs_no_file_of_its_own() -> None:
    assert msgspec.convert({}, ComponentSpec).runtime == RuntimeSpec(kind="python", entry="main.py")


def test_a_component_version_is_named_by_its_definition() -> None:
    version = ComponentVersion(
        app="order-app", hash="0" * 32, definition=ComponentDefinition(name="api-server")
    )

    assert version.name == "api-server"


def test_people_see_twelve_characters_of_a_hash() -> None:
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
def test_a_deployment_answers_to_its_names(selector: str, answers: bool) -> None:
    deployment = Deployment(
        name="order-app-v1",
        app="order-app",
        components={},
        version="1.0",
        source=SourceRef(commit=COMMIT, branch="main", tag="v1.0"),
    )

    assert deployment.answers_to(selector) is answers


def test_a_deployment_from_outside_a_repository_answers_to_its_name_alone() -> None:
    deployment = Deployment(name="order-app-v1", app="order-app", components={})

    assert deployment.answers_to("order-app-v1")
    assert not deployment.answers_to("")


def test_values_of_a_virtual_environment_win() -> None:
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
def test_the_nearest_release_policy_is_in_force(
    below: ReleasePolicy | None, own: ReleasePolicy | None, in_force: PolicyType
) -> None:
    environment = msgspec.structs.replace(DEV, release_policy=below)

    assert policy_of(environment, team(policy=own)).type is in_force


def test_pods_of_one_component_version_lie_together() -> None:
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
        (subjects.VIEW, "broker/view"),
        (subjects.inbox_prefix("p1") + "7", "inbox/p1/7"),
    ],
)
def test_a_subject_is_shown_as_its_receiver(subject: str, hop: str) -> None:
    assert subjects.hop(subject) == hop


@pytest.mark.parametrize(("now_s", "left_s"), [(10, 1.5), (11.5, 0), (20, 0)])
def test_an_event_knows_how_long_it_has_left(now_s: float, left_s: float) -> None:
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
