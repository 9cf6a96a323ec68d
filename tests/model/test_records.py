import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import records
from model.component import ComponentDefinition, ComponentVersion, Route, Variable
from model.deployment import Deployment
from model.environment import Environment, EnvironmentData, HTTPAdapter, VirtualEnvironment
from model.errors import InvalidEvent
from model.records import Record
from model.release import Release, ReleasedApp, ReleaseManifest, ReleaseState

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
}


def test_every_kind_has_an_example_here() -> None:
    assert {records.kind_of(key): type(record) for key, record in EXAMPLES.items()} == records.KINDS


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_record_comes_back_as_it_was_stored(key: str) -> None:
    stored = records.encode(EXAMPLES[key])

    assert records.decode(key, stored) == EXAMPLES[key]
    assert msgspec.json.decode(stored)


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_field_that_a_newer_release_stored_is_skipped(key: str) -> None:
    stored = {**msgspec.to_builtins(EXAMPLES[key]), "of_tomorrow": {"a": 1}}

    assert records.decode(key, records.encode(stored)) == EXAMPLES[key]


def test_a_key_of_no_known_kind_is_refused() -> None:
    with pytest.raises(InvalidEvent, match=r"KV key platform\.key has no known kind"):
        records.decode("platform.key", b"{}")


@given(st.sampled_from(list(EXAMPLES)), st.binary())
def test_bytes_at_random_are_refused_with_their_key(key: str, value: bytes) -> None:
    with pytest.raises(InvalidEvent, match=key):
        records.decode(key, value)
