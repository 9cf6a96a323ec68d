"""Environments: what may be written, and what may go."""

from __future__ import annotations

import asyncio

import pytest

from broker.control.environments import Kind
from broker.control.secrets import MASK, EnvironmentObject
from model.environment import (
    Environment,
    EnvironmentData,
    HTTPAdapter,
    ReleasePolicy,
    VirtualEnvironment,
)
from model.errors import (
    EnvironmentNotFound,
    Immutable,
    InvalidRequest,
    NotFound,
    ProblemsFound,
    RevisionConflict,
)
from model.records import environment_key
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
async def test_what_is_written_is_listed_when_the_call_returns(
    plane: Plane, record: EnvironmentObject
) -> None:
    environments = plane.control.environments
    if isinstance(record, VirtualEnvironment):
        await environments.put(DEV)

    stored = await environments.put(record)

    assert environments.all(type(record)) == (stored,)
    assert environments.get(type(record), record.name) == stored


async def test_no_answer_shows_a_secret(plane: Plane) -> None:
    stored = await plane.control.environments.put(DEV)
    again = plane.control.environments.get(Environment, "dev")

    for each in (stored, again):
        assert isinstance(each.object, Environment)
        assert each.object.data == EnvironmentData(vars={"a": 1}, secrets={"token": MASK})
    assert await stored_secret(plane) == "s3cret"


async def test_a_mask_that_is_sent_back_keeps_the_secret(plane: Plane) -> None:
    shown = await plane.control.environments.put(DEV)

    await plane.control.environments.put(shown.object, shown.revision)

    assert await stored_secret(plane) == "s3cret"


async def test_a_mask_without_a_secret_is_a_problem(plane: Plane) -> None:
    masked = Environment(name="dev", data=EnvironmentData(secrets={"token": MASK}))

    with pytest.raises(ProblemsFound, match="masked") as caught:
        await plane.control.environments.put(masked)

    assert caught.value.problems[0].path == "data.secrets.token"


async def test_equal_content_keeps_its_revision(plane: Plane) -> None:
    first = await plane.control.environments.put(DEV)

    assert (await plane.control.environments.put(DEV)).revision == first.revision


async def test_a_writer_that_has_seen_an_older_revision_is_told(plane: Plane) -> None:
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


async def test_of_two_writers_at_once_one_is_told(own_nats_server: NatsServer) -> None:
    async with (
        open_plane(own_nats_server.url, "one") as one,
        open_plane(own_nats_server.url, "two") as two,
    ):
        first = await one.control.environments.put(DEV)

        results = await asyncio.gather(
            *(
                plane.control.environments.put(
                    Environment(name="dev", data=EnvironmentData(vars={"a": at})), first.revision
                )
                for at, plane in enumerate([one, two, one, two], start=2)
            ),
            return_exceptions=True,
        )

        assert sum(isinstance(each, RevisionConflict) for each in results) == 3


async def test_a_virtual_environment_stays_over_its_environment(plane: Plane) -> None:
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
async def test_what_is_not_valid_is_a_problem_with_its_path(
    plane: Plane, record: EnvironmentObject, problem: tuple[str, str]
) -> None:
    with pytest.raises(ProblemsFound) as caught:
        await plane.control.environments.put(record)

    assert [(each.type, each.path) for each in caught.value.problems] == [problem]


async def test_a_name_that_is_not_valid_is_refused(plane: Plane) -> None:
    with pytest.raises(InvalidRequest, match="virtual environment name"):
        await plane.control.environments.put(VirtualEnvironment(name="A!", environment="dev"))


@pytest.mark.parametrize("kind", [Environment, VirtualEnvironment, HTTPAdapter])
async def test_what_does_not_exist_is_not_found(plane: Plane, kind: Kind) -> None:
    expected = NotFound if kind is HTTPAdapter else EnvironmentNotFound

    with pytest.raises(expected, match="nowhere"):
        plane.control.environments.get(kind, "nowhere")
    with pytest.raises(expected, match="nowhere"):
        await plane.control.environments.delete(kind, "nowhere")


async def test_an_environment_below_others_is_not_deleted(plane: Plane) -> None:
    environments = plane.control.environments
    await environments.put(DEV)
    await environments.put(TEAM)

    with pytest.raises(Immutable, match="team-a"):
        await environments.delete(Environment, "dev", force=True)
    await environments.delete(VirtualEnvironment, "team-a")
    await environments.delete(Environment, "dev")

    assert environments.all(Environment) == ()


async def test_an_http_adapter_is_deleted(plane: Plane) -> None:
    stored = await plane.control.environments.put(MAIL)

    await plane.control.environments.delete(HTTPAdapter, "mail", stored.revision)

    assert plane.control.environments.all(HTTPAdapter) == ()


async def test_a_virtual_environment_with_a_release_goes_only_by_force(plane: Plane) -> None:
    await plane.environments("team-a")
    await plane.deploy("v1", API, version="v1")
    await plane.publish(*pods_of(API))
    state = (await plane.control.releases.request("team-a", "v1")).object
    assert state.active is not None
    assert state.active.manifest is not None

    with pytest.raises(Immutable, match="has a release"):
        await plane.control.environments.delete(VirtualEnvironment, "team-a")
    await plane.control.environments.delete(VirtualEnvironment, "team-a", force=True)

    assert plane.control.environments.all(VirtualEnvironment) == ()
    assert plane.control.releases.all() == ()
    assert plane.store.snapshot.manifest("team-a", state.active.manifest) is None
