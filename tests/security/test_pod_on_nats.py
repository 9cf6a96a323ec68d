"""The code of a component, on a running platform, with all that is in the memory of its pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from broker.nats import bus as buses
from broker.nats.credentials.login import Login
from examples.demo.platform import Platform
from fox.data_dir import read_info
from kubefox import subjects
from kubefox.errors import NatsUnavailable
from kubefox.senders import PLATFORM, PLATFORM_APP, Sender
from tests.security import login_thief, spy_app
from tests.security.login_thief import PLANTED, Relay, ask, steal_login
from tests.support.platform_nats import connect, read_platform_login

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 60
APP = spy_app.NAME
REFUSED = "NATS does not let this process publish"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    folder = tmp_path_factory.mktemp("thief")
    login_thief.build(folder / "app")
    async with Platform(folder / "data") as platform:
        await platform.fox("apply", "-f", folder / "app" / "environments.yaml")
        yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def platform(shared: Platform) -> Platform:
    """The shared platform, on which the app is deployed."""
    app = shared.data_dir.with_name("app")
    await shared.fox("deploy", "v1", "--dirty", "--wait", cwd=app)
    return shared


async def stolen_login(platform: Platform) -> Login:
    info = await asyncio.to_thread(read_info, platform.data_dir)
    assert info is not None
    return await steal_login(platform.http_url, info.nats_url)


async def hash_of(platform: Platform) -> str:
    shown = json.loads(await platform.fox("get", "deployments", "v1", "-o", "json"))
    digest: str = shown["object"]["components"][APP]
    return digest


async def test_the_code_of_a_component_is_no_administrator_of_nats(platform: Platform) -> None:
    digest = await hash_of(platform)
    me = subjects.component(APP, APP, digest)
    other = subjects.component("bank", "vault", digest)
    acts = [
        "$JS.API.STREAM.INFO.KV_kubefox",
        "$JS.API.STREAM.DELETE.KV_kubefox",
        "$JS.API.STREAM.MSG.GET.KV_kubefox",
        "$JS.API.DIRECT.GET.KV_kubefox.platform.keys",
        "$KV.kubefox.deployment.v1",
        "$O.kubefox-bundles.C.x",
        subjects.emitted(me),
        subjects.pods_gone(me),
        subjects.request_to(other, Sender("bank", f"{APP}@{digest}")),
        subjects.request_to(me, Sender(PLATFORM_APP, "adapter/http")),
        subjects.view(Sender("bank", f"vault@{digest}")),
        subjects.figures_of(PLATFORM),
    ]
    wanted = [
        (subjects.requests_to(other), "pods"),
        (subjects.requests_to(me), ""),
        ("adapter.*.*.*", "adapters"),
        ("broker.view.*.*", "brokers"),
        ("reply.>", ""),
        ("$KV.>", ""),
    ]

    outcomes = await ask(platform.http_url, "/publish", acts)
    refused = (await ask(platform.http_url, "/subscribe", wanted))["refused"]

    assert [act for act in acts if REFUSED not in outcomes[act]] == []
    assert refused == len(wanted)
    assert await hash_of(platform) == digest


async def test_a_pod_has_no_key_that_its_code_could_copy(platform: Platform) -> None:
    assert await ask(platform.http_url, "/keys") == [PLANTED]


async def test_what_a_pod_logs_in_with_is_of_no_use_elsewhere(platform: Platform) -> None:
    login = await stolen_login(platform)
    assert login.credentials is not None

    with pytest.raises(NatsUnavailable, match="refuses these credentials"):
        async with buses.connect(
            login.url, process_id="p", credentials=login.credentials, first_connect_s=1
        ):
            pass


async def test_a_stolen_connection_ends_with_the_version_of_its_pod(platform: Platform) -> None:
    login = await stolen_login(platform)
    other = await read_platform_login(platform.data_dir, "other")
    relay = Relay(platform.http_url, login)

    async with (
        buses.connect(login.url, process_id=login.process_id, credentials=relay) as stolen,
        connect(other) as kept,
    ):
        assert stolen.is_ready
        await platform.fox("undeploy", "v1")

        async with asyncio.timeout(SOON_S):
            await stolen.closed.wait()
        assert kept.is_ready
