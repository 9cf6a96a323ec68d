"""Pods of ``fox serve pods``, on a NATS server whose account the platform cannot change."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from broker.nats import bus as buses
from broker.nats.credentials.login import Login
from kubefox.errors import NatsUnavailable
from tests.faults.new_version import change_hashes
from tests.faults.parts import Parts, open_parts
from tests.security import login_thief
from tests.security.login_thief import PLANTED, Relay, ask, steal_login
from tests.support.nats import NatsServer, secured_nats_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 60


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with secured_nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Parts]:
    folder = tmp_path_factory.mktemp("parts")
    async with open_parts(nats, folder, runners=1) as parts:
        login_thief.build(folder / "thief")
        yield parts


@pytest_asyncio.fixture(loop_scope="module")
async def parts(shared: Parts) -> Parts:
    """The shared parts, with a pod that no test before has seen."""
    if shared.pods["pods-1"].process.returncode is not None:
        await shared.serve("pods", "pods-1")
    change_hashes(shared.folder / "thief")
    await shared.fox("deploy", "v1", "--dirty", "--wait", cwd=shared.folder / "thief")
    return shared


async def undeploy(parts: Parts) -> None:
    await parts.fox("undeploy", "v1")


async def kill_runner(parts: Parts) -> None:
    assert await parts.pods["pods-1"].end(signal.SIGKILL) == -signal.SIGKILL


async def test_a_pod_has_no_key_and_its_login_is_of_no_use_elsewhere(
    parts: Parts, nats: NatsServer
) -> None:
    login = await steal_login(parts.http.url, nats.url)

    assert await ask(parts.http.url, "/keys") == [PLANTED]
    with pytest.raises(NatsUnavailable, match="refuses these credentials"):
        async with buses.connect(
            login.url, process_id="p", credentials=login.credentials, first_connect_s=1
        ):
            pass


def user_of(login: Login) -> str:
    """Return the public key of a login's user."""
    assert login.credentials is not None
    part = login.credentials.token.split(".")[1]
    found: str = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"]
    return found


@pytest.mark.parametrize("end", [undeploy, kill_runner])
async def test_nobody_logs_in_as_a_pod_that_has_ended(
    parts: Parts, nats: NatsServer, end: Callable[[Parts], Awaitable[None]]
) -> None:
    login = await steal_login(parts.http.url, nats.url)
    relay = Relay(parts.http.url, login)

    async with buses.connect(login.url, process_id=login.process_id, credentials=relay) as stolen:
        assert stolen.is_ready
        await end(parts)
        await asyncio.to_thread(nats.stop)
        await asyncio.to_thread(nats.start)

        async with asyncio.timeout(SOON_S):
            while relay.refused < 2:
                await asyncio.sleep(0.05)
        assert not stolen.is_ready


async def test_the_operator_learns_of_a_connection_that_outlives_its_pod(
    parts: Parts, nats: NatsServer
) -> None:
    login = await steal_login(parts.http.url, nats.url)
    relay = Relay(parts.http.url, login)
    line = f"NATS user {user_of(login)} is still connected from 127.0.0.1"

    async with buses.connect(login.url, process_id=login.process_id, credentials=relay) as stolen:
        assert stolen.is_ready
        await undeploy(parts)

        async with asyncio.timeout(SOON_S):
            while line not in await asyncio.to_thread((parts.folder / "pods-1.log").read_text):
                await asyncio.sleep(0.05)
