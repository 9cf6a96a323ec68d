import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Route, Variable
from kubefox.deployment import Deployment
from kubefox.environment import Environment, EnvironmentData, HTTPAdapter, VirtualEnvironment
from kubefox.errors import InvalidEvent
from kubefox.records import Record
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from kubefox.rollout import Rollout, RolloutState
from kubefox.scaling import Scale, ScaleOverride
from kubefox.share import Share

DATA = EnvironmentData(vars={"text": "a", "count": 1, "rate": 0.5, "on": True, "list": ["a", 2]})
DEPLOYMENT = Deployment(name="v1", app="order-app", components={"api": "0" * 32})
EXAMPLES: dict[str, Record] = {
    records.component_key("order-app", "api", "0" * 32): ComponentVersion(
        app="order-app",
        hash="0" * 32,
        definition=ComponentDefinition(
            name="api",
            routes=(Route(id=0, rule="Path(`/`)"),),
            variables=(Variable(name="tags", default=["a", 1]),),
        ),
    ),
    records.deployment_key("v1"): DEPLOYMENT,
    records.environment_key("dev"): Environment(name="dev", data=DATA),
    records.virtual_environment_key("team-a"): VirtualEnvironment(
        name="team-a", environment="dev", data=DATA
    ),
    records.http_adapter_key("shop"): HTTPAdapter(name="shop", url="https://{{.Vars.host}}"),
    records.manifest_key("team-a", "r1"): ReleaseManifest(
        id="r1",
        virtual_environment="team-a",
        deployments={"order-app": DEPLOYMENT},
        data=DATA,
    ),
    records.release_key("team-a"): ReleaseState(
        virtual_environment="team-a",
        active=Release(
            id="r1",
            apps={"order-app": ReleasedApp(deployment="v1")},
            manifest="r1",
            requested_at_s=1.5,
        ),
    ),
    records.rollout_key("v1"): RolloutState(
        deployment="v1",
        rollout=Rollout(target=DEPLOYMENT, replaces=DEPLOYMENT, requested_at_s=1.5, deadline_s=300),
        history=(DEPLOYMENT,),
    ),
    records.scale_key("order-app", "api", "v1"): ScaleOverride(
        app="order-app",
        component="api",
        deployment="v1",
        scale=Scale(min=2, target_in_flight=1.5),
    ),
    records.share_key("4f2a"): Share(
        name="4f2a", deployment="v1", virtual_environment="a", expires_at_s=2, created_at_s=1
    ),
}


def test_every_kind_of_record_has_an_example() -> None:
    assert {records.kind_of(key): type(record) for key, record in EXAMPLES.items()} == records.KINDS


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_record_survives_encoding(key: str) -> None:
    stored = records.encode(EXAMPLES[key])

    assert records.decode(key, stored) == EXAMPLES[key]
    assert msgspec.json.decode(stored)


@pytest.mark.parametrize("key", EXAMPLES)
def test_an_unknown_field_of_a_newer_version_is_ignored(key: str) -> None:
    stored = {**msgspec.to_builtins(EXAMPLES[key]), "of_tomorrow": {"a": 1}}

    assert records.decode(key, records.encode(stored)) == EXAMPLES[key]


def test_a_key_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidEvent, match=r"KV key platform\.key is of an unknown kind"):
        records.decode("platform.key", b"{}")


@given(st.sampled_from(list(EXAMPLES)), st.binary())
def test_random_bytes_are_refused_with_their_key(key: str, value: bytes) -> None:
    with pytest.raises(InvalidEvent, match=key):
        records.decode(key, value)
