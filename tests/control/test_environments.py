"""Writing and deleting environments, virtual environments and HTTP adapters."""

from __future__ import annotations

import asyncio

import pytest

from control.environments import ObjectKind
from control.secret_masks import MASK, EnvironmentObject
from kubefox.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    ReleasePolicy,
    VirtualEnvironment,
)
from kubefox.errors import (
    EnvironmentNotFound,
    Immutable,
    InUse,
    InvalidRequest,
    NotFound,
    ProblemsFound,
    RevisionConflict,
)
from kubefox.records import environment_key
from tests.support.control_plane import Plane, component, open_plane, pods_of
from tests.support.nats import NatsServer

DEV = Environment(name="dev", data=EnvironmentData(vars={"a": 1}, secrets={"token": "s3cret"}))
TEAM = VirtualEnvironment(
    name="team-a", environment="dev", data=EnvironmentData(secrets={"keys": ["a", "b"]})
)
MAIL = HTTPAdapter(name="mail", url="https://mail.example/{{.Vars.path}}")
API = component("api-server")


async def stored_secret(plane: Plane) -> object:
    found = await plane.store.get(environment_key("dev"))
    assert found is not None
    assert isinstance(found[0], Environment)
    return found[0].data.secrets["token"]


@pytest.mark.parametrize("record", [DEV, TEAM, MAIL])
async def test_an_object_is_visible_when_put_returns(
    plane: Plane, record: EnvironmentObject
) -> None:
    environments = plane.control.environments
    if isinstance(record, VirtualEnvironment):
        await environments.put(DEV)

    stored = await environments.put(record)

    assert environments.get(type(record), record.name) == stored
    assert environments.get(type(record), record.name) == stored


async def test_answers_contain_masked_secrets(plane: Plane) -> None:
    stored = await plane.control.environments.put(DEV)
    again = plane.control.environments.get(Environment, "dev")

    for answer in (stored, again):
        assert isinstance(answer.object, Environment)
        assert answer.object.data == EnvironmentData(vars={"a": 1}, secrets={"token": MASK})
    assert await stored_secret(plane) == "s3cret"


async def test_a_mask_that_is_sent_back_keeps_the_secret(plane: Plane) -> None:
    answer = await plane.control.environments.put(DEV)

    await plane.control.environments.put(answer.object, answer.revision)

    assert await stored_secret(plane) == "s3cret"


async def test_a_mask_without_a_stored_secret_is_a_problem(plane: Plane) -> None:
    masked = Environment(name="dev", data=EnvironmentData(secrets={"token": MASK}))

    with pytest.raises(ProblemsFound, match="masked") as caught:
        await plane.control.environments.put(masked)

    assert caught.value.problems[0].path == "data.secrets.token"


async def test_equal_content_keeps_its_revision(plane: Plane) -> None:
    first = await plane.control.environments.put(DEV)

    assert (await plane.control.environments.put(DEV)).revision == first.revision


async def test_a_write_with_an_old_revision_is_a_revision_conflict(plane: Plane) -> None:
    put = plane.control.environments.put
    first = await put(DEV)
    await put(Environment(name="dev"))

    with pytest.raises(RevisionConflict, match=f"not revision {first.revision}"):
        await put(DEV, first.revision)
    with pytest.raises(RevisionConflict):
        await put(DEV, 0)
    with pytest.raises(RevisionConflict, match="does not exist"):
        await put(Environment(name="new"), 7)
    with pytest.raises(RevisionConflict):
        await plane.control.environments.delete(Environment, "dev", first.revision)


async def test_revision_zero_creates_and_never_replaces(plane: Plane) -> None:
    await plane.control.environments.put(DEV, 0)

    with pytest.raises(RevisionConflict):
        await plane.control.environments.put(DEV, 0)


async def test_of_concurrent_writes_with_one_revision_one_succeeds(
    own_nats_server: NatsServer,
) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        first = await one.control.environments.put(DEV)

        results = await asyncio.gather(
            *(
                plane.control.environments.put(
                    Environment(name="dev", data=EnvironmentData(vars={"a": number})),
                    first.revision,
                )
                for number, plane in enumerate([one, two, one, two], start=2)
            ),
            return_exceptions=True,
        )

        assert sum(isinstance(result, RevisionConflict) for result in results) == 3


async def test_a_virtual_environment_keeps_its_environment(plane: Plane) -> None:
    await plane.control.environments.put(DEV)
    await plane.control.environments.put(Environment(name="prod"))
    await plane.control.environments.put(TEAM)

    with pytest.raises(Immutable, match="cannot move to prod"):
        await plane.control.environments.put(VirtualEnvironment(name="team-a", environment="prod"))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (TEAM, ("EnvironmentNotFound", "environment")),
        (
            Environment(name="a", data=EnvironmentData(vars={"a b": 1})),
            ("InvalidName", "data.vars.a b"),
        ),
        (
            Environment(name="a", data=EnvironmentData(secrets={"": 1})),
            ("InvalidName", "data.secrets."),
        ),
        (
            Environment(name="a", release_policy=ReleasePolicy(activation_deadline_s=0)),
            ("InvalidPolicy", "release_policy.activation_deadline_s"),
        ),
        (
            Environment(name="a", release_policy=ReleasePolicy(history_limit=0)),
            ("InvalidPolicy", "release_policy.history_limit"),
        ),
        (HTTPAdapter(name="a", url="file:///etc/passwd"), ("InvalidURL", "url")),
    ],
)
async def test_a_problem_has_the_path_of_the_invalid_field(
    plane: Plane, record: EnvironmentObject, problem: tuple[str, str]
) -> None:
    with pytest.raises(ProblemsFound) as caught:
        await plane.control.environments.put(record)

    assert [(found.type, found.path) for found in caught.value.problems] == [problem]


async def test_an_invalid_name_is_refused(plane: Plane) -> None:
    with pytest.raises(InvalidRequest, match="virtual environment name"):
        await plane.control.environments.put(VirtualEnvironment(name="A!", environment="dev"))


@pytest.mark.parametrize("kind", [Environment, VirtualEnvironment, HTTPAdapter])
async def test_a_missing_object_is_not_found(plane: Plane, kind: ObjectKind) -> None:
    expected = NotFound if kind is HTTPAdapter else EnvironmentNotFound

    with pytest.raises(expected, match="nowhere"):
        plane.control.environments.get(kind, "nowhere")
    with pytest.raises(expected, match="nowhere"):
        await plane.control.environments.delete(kind, "nowhere")


async def test_an_environment_in_use_is_not_deleted(plane: Plane) -> None:
    environments = plane.control.environments
    await environments.put(DEV)
    await environments.put(TEAM)

    with pytest.raises(InUse, match="team-a"):
        await environments.delete(Environment, "dev", force=True)
    await environments.delete(VirtualEnvironment, "team-a")
    await environments.delete(Environment, "dev")

    assert not plane.store.snapshot.environments


async def test_an_http_adapter_is_deleted(plane: Plane) -> None:
    stored = await plane.control.environments.put(MAIL)

    await plane.control.environments.delete(HTTPAdapter, "mail", stored.revision)

    assert not plane.store.snapshot.http_adapters


async def test_a_virtual_environment_with_a_release_is_deleted_only_by_force(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", API, version="v1")
    await plane.publish(*pods_of(API))
    state = (await plane.control.releases.request("team-a", "v1")).object
    assert state.active is not None
    assert state.active.manifest is not None

    with pytest.raises(InUse, match="has a release"):
        await plane.control.environments.delete(VirtualEnvironment, "team-a")
    await plane.control.environments.delete(VirtualEnvironment, "team-a", force=True)

    assert not plane.store.snapshot.virtual_environments
    assert not plane.store.snapshot.releases
    assert plane.store.snapshot.manifest("team-a", state.active.manifest) is None
